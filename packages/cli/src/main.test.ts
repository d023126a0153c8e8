import { existsSync, openSync, closeSync, readFileSync, writeFileSync } from "node:fs";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { tempDir } from "../../../test/support/index.ts";
import { otelAudit } from "./testing/command.ts";

const COMMANDS = [
  ["run"],
  ["collector"],
  ["query"],
  ["policy"],
  ["policy", "check"],
  ["policy", "test"],
  ["schema"],
  ["schema", "print"],
];
/** Commands that only hold others. */
const GROUPS = new Set(["policy", "schema"]);

describe("otel-audit", () => {
  it("says its version and what it can do", async () => {
    const manifest = readFileSync(fileURLToPath(new URL("../package.json", import.meta.url)), "utf8");
    expect(await otelAudit("--version")).toEqual({ code: 0, stdout: `${JSON.parse(manifest).version}\n`, stderr: "" });
    const help = await otelAudit("--help");
    expect(help).toMatchObject({ code: 0, stderr: "" });
    for (const [command = ""] of COMMANDS) expect(help.stdout).toContain(`\n  ${command}`);
    expect(help.stdout).toMatch(/Exit code: 0 fine; 1 the answer is no .*; 2 wrong use or configuration/);
  });

  it.each(COMMANDS.map((command) => [command]))(
    "%j has a help text, with examples where it does something",
    async (command) => {
      const help = await otelAudit(...command, "--help");
      expect(help).toMatchObject({ code: 0, stderr: "" });
      expect(help.stdout).toContain(`Usage: otel-audit ${command.join(" ")}`);
      const example = GROUPS.has(command.join(" ")) ? "Commands:" : `Examples:\n  otel-audit ${command.join(" ")}`;
      expect(help.stdout).toContain(example);
    },
  );

  it.each([
    [[], /^Usage: otel-audit/],
    [["nosuch"], /unknown command 'nosuch'/],
    [["query", "--nosuch"], /unknown option '--nosuch'/],
    [["query", "--limit", "0"], /'--limit <n>' argument '0' is invalid. It must be a whole number from 1 to 1000000/],
    [["query", "--action", "RED", "--format", "sql"], /--action: "RED" is not one of READ, WRITE/],
    [
      ["query", "--data", "x", "--url", "http://127.0.0.1:1"],
      /'--data <dir>' cannot be used with option '--url <url>'/,
    ],
    [["query", "--data", "/nonexistent/dir"], /--data: there is no directory "\/nonexistent\/dir"/],
    [["collector", "--port-offset", "60000"], /'60000' is invalid. It must be a whole number from 0 to 52000/],
    [["collector", "--config", "/nonexistent"], /--config: cannot read "\/nonexistent": no such file or directory/],
    [["policy", "check", "/nonexistent"], /FILE: cannot read "\/nonexistent": no such file or directory/],
    [["schema", "print", "--database", "a b"], /--database "a b": 1 to 128 letters/],
    [["run"], /missing required argument 'command'/],
    [
      ["run", "--mode", "strict", "--", "true"],
      /'--mode <mode>' argument 'strict' is invalid. Allowed choices are observe, enforce/,
    ],
    [
      ["run", "--policy", "/nonexistent", "--", "true"],
      /--policy: cannot read "\/nonexistent": no such file or directory/,
    ],
  ])("%j is wrong use: exit code 2, and it says why on stderr", async (args, message) => {
    const { code, stdout, stderr } = await otelAudit(...args);
    expect(stderr).toMatch(message);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).not.toMatch(/^ {4}at /m);
  });

  it("shows a stack only when asked", async () => {
    const { stderr } = await otelAudit.with({ env: { DEBUG: "otel-audit" } }, "query", "--action", "RED");
    expect(stderr).toMatch(/^ {4}at /m);
  });

  it("is quiet about what a hostile argument tries with the terminal", async () => {
    const { stderr } = await otelAudit("query", "--data", "/nonexistent/\x1b[2J");
    expect(stderr).not.toContain("\x1b");
  });
});

describe("output", () => {
  it("has no colours when it is no terminal, whatever FORCE_COLOR says", async () => {
    const file = join(tempDir("policy"), "p.yaml");
    writeFileSync(file, "policy: p\nrules: []\n");
    for (const env of [{}, { FORCE_COLOR: "3" }, { NO_COLOR: "1", FORCE_COLOR: "1" }]) {
      const { stdout } = await otelAudit.with({ env }, "policy", "check", file);
      expect(stdout).toContain("p.yaml: ");
      expect(stdout).not.toContain("\x1b");
    }
  });

  it("may be cut off by its reader (| head)", () => {
    const script = `"$0" "$1" schema print | head -n 1; echo "\${PIPESTATUS[@]}"`;
    const bin = fileURLToPath(new URL("../bin/otel-audit.js", import.meta.url));
    const { stdout, stderr } = spawnSync("bash", ["-c", script, process.execPath, bin], { encoding: "utf8" });
    expect({ stdout, stderr }).toEqual({ stdout: "CREATE DATABASE IF NOT EXISTS otel_audit;\n0 0\n", stderr: "" });
  });

  it.runIf(existsSync("/dev/full"))("that cannot be written is an error", () => {
    const bin = fileURLToPath(new URL("../bin/otel-audit.js", import.meta.url));
    const full = openSync("/dev/full", "w");
    const { status, stderr } = spawnSync(process.execPath, [bin, "schema", "print"], {
      stdio: ["ignore", full, "pipe"],
      encoding: "utf8",
    });
    closeSync(full);
    expect(stderr).toMatch(/cannot write to standard output: ENOSPC/);
    expect(status).toBe(1);
  });
});

describe("schema print", () => {
  it("prints statements that end with a semicolon, for the database and cluster that were asked for", async () => {
    const plain = await otelAudit("schema", "print");
    expect(plain.code).toBe(0);
    expect(plain.stdout).toMatch(
      /^CREATE DATABASE IF NOT EXISTS otel_audit;\n\nCREATE TABLE IF NOT EXISTS otel_audit.audit_events\n[^]*;\n$/,
    );
    const cluster = await otelAudit("schema", "print", "--database", "my-audit", "--cluster", "main");
    expect(cluster.stdout).toContain("CREATE TABLE IF NOT EXISTS `my-audit`.audit_events_local ON CLUSTER main");
  });
});

describe("query --format sql", () => {
  it("needs no data, and prints one statement", async () => {
    const { code, stdout } = await otelAudit(
      "query",
      "--agent",
      "o'neil",
      "--database",
      "audit2",
      "--format",
      "sql",
      "--data",
      "/nonexistent",
    );
    expect(code).toBe(0);
    expect(stdout).toMatch(/^SELECT\n[^;]*FROM audit2\.audit_events\n[^;]*ActorId = 'o\\'neil'[^;]*;\n$/);
  });
});
