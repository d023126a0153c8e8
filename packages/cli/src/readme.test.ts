import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { learnPolicy } from "@otel-audit/policy/learn";
import type { PolicyAction } from "@otel-audit/policy";
import type { AuditTargetType } from "@otel-audit/semantic-conventions";
import { describe, expect, it } from "vitest";
import { tempDir } from "../../../test/support/index.ts";
import { otelAudit } from "./testing/command.ts";

const README = readFileSync(fileURLToPath(new URL("../README.md", import.meta.url)), "utf8");
const BLOCKS = [...README.matchAll(/^```(?<language>\w+) ?(?<name>\S*)\n(?<text>[^]*?)^```$/gm)].map(({ groups }) => ({
  language: groups?.language ?? "",
  name: groups?.name ?? "",
  text: groups?.text ?? "",
}));
const LINES = BLOCKS.filter(({ language }) => language === "sh").flatMap(({ text }) => text.trim().split("\n"));

/** Examples that need nothing but the files of the README. */
const SELF_CONTAINED =
  /^otel-audit (policy (check|test [^-])|schema|credential|(collector )?(print-config|validate)\b)|--format sql$/;

/** Words of a line as a shell splits them; quotes hold no quotes here. */
function words(line: string): string[] {
  return [...line.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)].map((match) => match[1] ?? match[2] ?? match[3] ?? "");
}

function commandOf(line: string): string[] {
  const [, first = "", second = ""] = words(line);
  return ["policy", "schema", "collector", "credential"].includes(first) && /^[a-z]/.test(second)
    ? [first, second]
    : [first];
}

/** A READ on behalf of somebody. */
function act(actorId: string, event: string, type: AuditTargetType, id: string): PolicyAction {
  return { actorId, actorType: "agent", onBehalfOf: "user:4711", event, action: "READ", targets: [{ type, id }] };
}

describe("README", () => {
  it("shows every command", async () => {
    const { stdout } = await otelAudit("--help");
    const commands = [...stdout.matchAll(/^ {2}(?<name>[a-z-]+)(?: \[| {3,})/gm)]
      .map(({ groups }) => groups?.name)
      .filter((name) => name !== "help");
    expect(new Set(commands)).toEqual(new Set(LINES.map((line) => words(line)[1])));
  });

  it("uses only options that there are", async () => {
    for (const [command, lines] of Map.groupBy(LINES, (line) => commandOf(line).join(" "))) {
      const { stdout } = await otelAudit(...command.split(" "), "--help");
      const used = lines.flatMap((line) => words(line.replace(/ -- .*/, ""))).filter((word) => word.startsWith("--"));
      for (const option of used) expect(stdout).toMatch(new RegExp(`^  ${option}\\b`, "m"));
    }
  });

  it("has examples that work", async () => {
    const dir = tempDir("readme");
    for (const { name, text } of BLOCKS) if (name !== "") writeFileSync(join(dir, name), text);
    const runnable = LINES.filter((line) => SELF_CONTAINED.test(line));
    expect(runnable).toHaveLength(15);
    for (const line of runnable) {
      expect({ line, ...(await otelAudit.with({ cwd: dir }, ...words(line).slice(1))) }).toMatchObject({
        code: 0,
        stderr: "",
      });
    }
  });

  it("shows a learned policy as it is written", async () => {
    const shown = BLOCKS.find(({ name }) => name === "learned.yaml")!.text;
    const file = (name: string): PolicyAction => act("support", "file.read", "file", `file:///srv/kb/${name}.md`);
    const refund = act("refunds", "http.request", "http.endpoint", "https://pay.internal/v1/refunds");
    const { text } = learnPolicy([
      { action: file("a"), count: 3 },
      { action: file("b"), count: 2, failed: 1 },
      { action: file("c"), count: 1 },
      {
        action: act("support", "db.statement", "database.table", "postgresql://db.internal/app/public.orders"),
        count: 1,
      },
      { action: { ...refund, action: "WRITE" }, count: 2 },
    ]);
    expect(text.slice(text.indexOf("policy: learned"))).toBe(shown);
  });

  it("has filters that the query command takes", async () => {
    const queries = LINES.filter((line) => line.startsWith("otel-audit query"));
    for (const line of queries) {
      const { code, stderr } = await otelAudit(...words(line).slice(1), "--format", "sql");
      expect({ line, code, stderr }).toEqual({ line, code: 0, stderr: "" });
    }
  });
});
