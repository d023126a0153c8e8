import { existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { startHttpApi, tempDir } from "../../../../test/support/index.ts";
import type { AuditRow } from "../records/query.ts";
import type { Summary } from "../records/summary.ts";
import { otelAudit, startOtelAudit, type Ended } from "../testing/command.ts";

interface RunJson {
  readonly exitCode: number;
  readonly complete: boolean;
  readonly data: string | null;
  readonly summary: Summary;
  readonly records: readonly AuditRow[];
}

/** A directory for a command to run in, with the files it is made of. */
function world(files: Readonly<Record<string, string>>): string {
  const dir = tempDir("run");
  for (const [name, text] of Object.entries(files)) writeFileSync(join(dir, name), text);
  return dir;
}

/** Records of what an agent did, without those about the audit itself, as `ACTION target outcome`. */
function actions(records: readonly AuditRow[], dir: string): string[] {
  return records
    .filter((row) => row.ActorId !== "system:otel-audit")
    .map((row) =>
      `${row.ActorId} ${row.Action} ${row.TargetId.replace(`file://${dir}/`, "")} ${row.Outcome} ${row.Decision}`.trim(),
    )
    .toSorted();
}

function json({ stdout }: Ended): RunJson {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what is tested
  return JSON.parse(stdout) as RunJson;
}

const AGENT = `
  import { readFileSync } from "node:fs";
  import { readFile, writeFile } from "node:fs/promises";
  console.log("the agent speaks");
  await writeFile("note.txt", "x");
  readFileSync("note.txt");
  await readFile("gone.txt").catch(() => {});
  await fetch(process.env.API + "/v1/refunds", { method: "POST", body: "{}" }).catch((error) => console.log(String(error)));
`;

describe("run", () => {
  it("shows in plain language what a command touched, and leaves nothing behind", async () => {
    await using api = await startHttpApi();
    const dir = world({ "agent.mjs": AGENT });
    const tmp = tempDir("tmp");
    const env = { API: api.url, TMPDIR: tmp };
    const { code, stdout, stderr } = await otelAudit.with(
      { cwd: dir, env },
      "run",
      "--",
      process.execPath,
      "agent.mjs",
    );
    expect(stdout).toBe("the agent speaks\n");
    expect(stderr).toMatch(/\notel-audit: .*agent\.mjs ended with 0 after [\d.]+ s; 4 actions\n/);
    expect(stderr).toContain(`
  agent
    sent to 1 address
      ${api.url}/v1/refunds
    read 2 files
      file://${dir}/gone.txt (failed: ENOENT)
      file://${dir}/note.txt
    wrote 1 file
      file://${dir}/note.txt

  The records are gone now; --keep DIR keeps them for otel-audit query.
`);
    expect(code).toBe(0);
    expect(readdirSync(tmp)).toEqual([]);
  });

  it("keeps the records for query, adds those of the next run, and tells them apart", async () => {
    const dir = world({
      "agent.mjs": "import { readFileSync } from 'node:fs'; readFileSync(process.argv[2]);",
      a: "",
      b: "",
    });
    const first = await otelAudit.with(
      { cwd: dir },
      "run",
      "--keep",
      "kept",
      "--agent",
      "first",
      "--",
      "node",
      "agent.mjs",
      "a",
    );
    expect(first.stderr).toContain("Every record: otel-audit query --data kept");
    const second = await otelAudit.with(
      { cwd: dir },
      "run",
      "--keep",
      "kept",
      "--json",
      "--",
      "node",
      "agent.mjs",
      "b",
    );
    expect(json(second)).toMatchObject({ exitCode: 0, complete: true, data: "kept" });
    expect(actions(json(second).records, dir)).toEqual(["agent READ b success allow"]);

    const query = await otelAudit.with(
      { cwd: dir },
      "query",
      "--data",
      "kept",
      "--format",
      "json",
      "--action",
      "read",
      "--target",
      "*/?",
    );
    expect(query).toMatchObject({ code: 0, stdout: "[]\n" });
    const all = await otelAudit.with({ cwd: dir }, "query", "--data", "kept", "--format", "json");
    expect(actions(JSON.parse(all.stdout), dir)).toEqual(["agent READ b success allow", "first READ a success allow"]);

    const table = await otelAudit.with({ cwd: dir }, "query", "--data", "kept", "--agent", "first");
    expect(table.stdout).toMatch(/^TIME \(UTC\) .*\n\S+ \S+ +first +READ +file:.*\/a +success +allow +default\n$/);
    expect(table.stderr).toBe("1 record\n");

    const nobody = await otelAudit.with({ cwd: dir }, "query", "--data", "kept", "--agent", "frist");
    expect(nobody).toMatchObject({ code: 0, stdout: "" });
    expect(nobody.stderr).toMatch(/^no records\nagents with records: .*first/);
  });

  it("has the records of processes that called process.exit or were killed, in a shell too", async () => {
    const dir = world({
      "exits.mjs": "import { readFileSync } from 'node:fs'; readFileSync('a'); process.exit(3);",
      "killed.mjs": "import { readFileSync } from 'node:fs'; readFileSync('b'); process.kill(process.pid, 'SIGKILL');",
      a: "",
      b: "",
    });
    const run = await otelAudit.with(
      { cwd: dir },
      "run",
      "--json",
      "--agent",
      "bot",
      "--",
      "sh",
      "-c",
      "node killed.mjs; echo hi; node exits.mjs",
    );
    expect(run.code).toBe(3);
    expect(run.stderr).toMatch(/^hi$/m);
    expect(json(run)).toMatchObject({ exitCode: 3, complete: true, summary: { processes: 2 } });
    expect(actions(json(run).records, dir)).toEqual(["bot READ a success allow", "bot READ b success allow"]);
  });

  it("enforces a policy, and says what was stopped", async () => {
    await using api = await startHttpApi();
    const policy = `
policy: careful
mode: observe
default: allow
resources:
  note: { file: "**/note.txt" }
  refunds: { http: "${api.url}/v1/refunds" }
rules:
  - { id: no-notes, deny: { resource: note, action: READ } }
  - { id: person-approves, mode: enforce, review: { resource: refunds } }
`;
    const dir = world({
      "agent.mjs": AGENT.replace('readFileSync("note.txt")', 'try { readFileSync("note.txt") } catch {}'),
      "p.yaml": policy,
    });
    const options = { cwd: dir, env: { API: api.url } };
    const observed = await otelAudit.with(options, "run", "--policy", "p.yaml", "--", "node", "agent.mjs");
    expect(observed.stderr).toContain(`
  denied
    agent: READ file://${dir}/note.txt (not stopped, rule no-notes)

  to be reviewed
    agent: WRITE ${api.url}/v1/refunds (stopped, rule person-approves)
`);
    const enforced = await otelAudit.with(
      options,
      "run",
      "--policy",
      "p.yaml",
      "--mode",
      "enforce",
      "--",
      "node",
      "agent.mjs",
    );
    expect(enforced.stderr).toContain(`agent: READ file://${dir}/note.txt (stopped, rule no-notes)`);
    expect(api.requests).toHaveLength(0);
  });

  it("follows into child processes and workers, and writes the policy under which the same run is allowed", async () => {
    await using api = await startHttpApi();
    const dir = world({
      "agent.mjs": `${AGENT}
        import { fork } from "node:child_process"; import { Worker } from "node:worker_threads";
        fork("child.mjs"); new Worker("./worker.mjs");`,
      "child.mjs": "import { readFileSync } from 'node:fs'; readFileSync('child.mjs');",
      "worker.mjs": "import { readFileSync } from 'node:fs'; readFileSync('worker.mjs');",
    });
    const options = { cwd: dir, env: { API: api.url, OTEL_AUDIT_ON_BEHALF_OF: "user:4711" } };
    const command = ["--agent", "bot", "--", "node", "agent.mjs"];
    const first = await otelAudit.with(options, "run", "--learn", "p.yaml", "--json", ...command);
    expect(first.code, first.stderr).toBe(0);
    const { actions } = json(first).summary;
    expect(JSON.parse(first.stdout)).toMatchObject({ learned: { file: "p.yaml", records: actions, unlearned: [] } });
    const text = readFileSync(join(dir, "p.yaml"), "utf8");
    expect(text).toContain(`http: "${api.url}/v1/refunds"`);
    // note.txt, gone.txt, child.mjs and worker.mjs
    expect(text).toContain(`{ file: "${dir}/*" }`);

    const second = await otelAudit.with(
      options,
      "run",
      "--policy",
      "p.yaml",
      "--mode",
      "enforce",
      "--json",
      ...command,
    );
    expect(json(second).summary).toMatchObject({ actions, denied: [], toReview: [] });
    const other = ["--agent", "stranger", "--", "node", "child.mjs"];
    const denied = await otelAudit.with(options, "run", "--policy", "p.yaml", "--mode", "enforce", ...other);
    expect(denied.stderr).toContain("(stopped, no rule allows it)");
  });

  it("learns what was done with whole directories, as it was done", async () => {
    const agent = `
      import fs from "node:fs";
      fs.mkdirSync("build/deep/er", { recursive: true });
      fs.writeFileSync("build/deep/er/x", "x");
      fs.cpSync("build", "copy", { recursive: true });
      fs.renameSync("copy", "moved");
      fs.readdirSync("moved", { recursive: true });
      for (const name of ["build", "moved"]) fs.rmSync(name, { recursive: true });`;
    const dir = world({ "agent.mjs": agent });
    const command = ["--json", "--agent", "bot", "--", "node", "agent.mjs"];
    const first = await otelAudit.with({ cwd: dir }, "run", "--learn", "p.yaml", ...command);
    expect(JSON.parse(first.stdout)).toMatchObject({ learned: { unlearned: [] } });
    const second = await otelAudit.with({ cwd: dir }, "run", "--policy", "p.yaml", "--mode", "enforce", ...command);
    expect(second.code, second.stderr).toBe(0);
    expect(json(second).summary).toMatchObject({ actions: json(first).summary.actions, denied: [], toReview: [] });
  });

  it("says before the run that a learned policy cannot be written, and writes none of nothing", async () => {
    const dir = world({ "p.yaml": "mine" });
    const exists = await otelAudit.with({ cwd: dir }, "run", "--learn", "p.yaml", "--", "touch", "ran");
    expect(exists).toMatchObject({
      code: 2,
      stderr: 'otel-audit: --learn: cannot write "p.yaml": it is there already, and is not written over\n',
    });
    const nowhere = await otelAudit.with({ cwd: dir }, "run", "--learn", "no/p.yaml", "--", "touch", "ran");
    expect(nowhere.stderr).toContain('--learn: cannot write "no/p.yaml": no such file or directory');
    expect(readdirSync(dir)).toEqual(["p.yaml"]);
    const nothing = await otelAudit.with({ cwd: dir }, "run", "--learn", "new.yaml", "--", "node", "-e", "1");
    expect(nothing.stderr).toContain("nothing was learned, new.yaml is not written");
    expect(nothing.code).toBe(0);
    expect(readdirSync(dir)).toEqual(["p.yaml"]);
  });

  it("says so when the audit did not start in the command", async () => {
    const { code, stderr } = await otelAudit("run", "--", "sh", "-c", "exit 4");
    expect(stderr).toContain("The audit did not start in this command: is it a Node program?");
    expect(code).toBe(4);
  });

  it("ends as a shell does when the command cannot be run", async () => {
    const dir = world({ "not-executable": "" });
    expect(await otelAudit("run", "--", "no-such-command")).toMatchObject({
      code: 127,
      stderr: 'otel-audit: cannot run "no-such-command": no such command\n',
    });
    expect(await otelAudit("run", "--", join(dir, "not-executable"))).toMatchObject({
      code: 126,
      stderr: expect.stringContaining("EACCES"),
    });
  });

  it("refuses a policy that cannot be used before anything runs", async () => {
    const dir = world({ "p.yaml": "policy: p\nmode: observe\ndefault: allow\nrulez: []\n" });
    const { code, stderr } = await otelAudit.with({ cwd: dir }, "run", "--policy", "p.yaml", "--", "touch", "ran");
    expect(stderr).toMatch(/^otel-audit: --policy: p\.yaml:4:1: .*rulez/);
    expect(code).toBe(2);
    expect(existsSync(join(dir, "ran"))).toBe(false);
  });
});

describe("run and signals", () => {
  const WAITING = `
    import { readFileSync } from "node:fs";
    process.on("SIGINT", () => { readFileSync("cleanup"); process.exit(5); });
    console.log("up"); setInterval(() => {}, 1000);`;

  it.each([
    ["SIGTERM", 143],
    ["SIGINT", 5],
  ] as const)("passes %s on, waits for the command's end and still shows what it did", async (signal, expected) => {
    const dir = world({ "agent.mjs": WAITING, cleanup: "" });
    await using child = await startOtelAudit(["run", "--json", "--", "node", "agent.mjs"], { cwd: dir });
    await child.waitForLine(/^up$/);
    expect(await child.kill(signal)).toEqual({ code: expected, signal: null });
    const { records, exitCode } = json({ code: expected, stdout: child.stdout, stderr: "" });
    expect(exitCode).toBe(expected);
    expect(actions(records, dir)).toEqual(signal === "SIGINT" ? ["agent READ cleanup success allow"] : []);
  });
});
