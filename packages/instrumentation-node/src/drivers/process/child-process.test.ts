import { readdirSync } from "node:fs";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { type App, makeApp, type Run, summary, text } from "../../testing/run-app.ts";

/** Source text of a call that runs `file` with arguments, and resolves when it has ended. */
const ASYNC: Readonly<Record<string, string>> = {
  spawn: `ended(cp.spawn(file, args))`,
  "spawn through a shell": `ended(cp.spawn([file, ...args.map((arg) => "'" + arg + "'")].join(" "), { shell: true }))`,
  execFile: `new Promise((resolve) => cp.execFile(file, args, resolve))`,
  "execFile, promisified": `util.promisify(cp.execFile)(file, args)`,
  exec: `new Promise((resolve) => cp.exec([file, ...args.map((arg) => "'" + arg + "'")].join(" "), resolve))`,
  "exec, promisified": `util.promisify(cp.exec)([file, ...args.map((arg) => "'" + arg + "'")].join(" "))`,
  "ChildProcess.prototype.spawn": `direct(file, args)`,
  "spawn, imported by name": `ended(spawn(file, args))`,
};
const SYNC: Readonly<Record<string, string>> = {
  spawnSync: `cp.spawnSync(file, args)`,
  "spawnSync through a shell": `cp.spawnSync([file, ...args.map((arg) => "'" + arg + "'")].join(" "), { shell: true })`,
  execFileSync: `cp.execFileSync(file, args, { stdio: "pipe" })`,
  execSync: `cp.execSync([file, ...args.map((arg) => "'" + arg + "'")].join(" "), { stdio: "pipe" })`,
  "execFileSync, imported by name": `execFileSync(file, args, { stdio: "pipe" })`,
};
const CALLS = { ...ASYNC, ...SYNC };

const PRELUDE = `
  import cp, { spawn, execFileSync } from "node:child_process";
  import util from "node:util";
  import { withAgent } from "$INDEX";
  const ended = (child) => new Promise((resolve) => {
    const seen = [];
    child.on("error", (error) => seen.push(error.code));
    child.on("exit", (code, signal) => seen.push(code ?? signal));
    child.on("close", () => resolve(seen.join(" ")));
  });
  const direct = (file, args) => {
    const child = new cp.ChildProcess();
    child.spawn({ file, args: [file, ...args], envPairs: Object.entries(process.env).map((pair) => pair.join("=")) });
    return ended(child);
  };
`;

const FORMS = `${PRELUDE}
  const out = {};
  const run = async (name, fn) => {
    try { out[name] = await withAgent({ id: "agent:" + name }, fn); } catch (error) { out[name] = error.code ?? error.signal ?? error.name; }
  };
  ${Object.entries(CALLS)
    .map(([name, call]) =>
      [
        ["ok", "sh", ["-c", "exit 0"]],
        ["fails", "sh", ["-c", "exit 3"]],
        ["killed", "sh", ["-c", "kill -9 $$"]],
      ]
        .map(
          ([how, file, args]) =>
            `await run(${JSON.stringify(`${name}/${String(how)}`)}, () => { const file = ${JSON.stringify(file)}, args = ${JSON.stringify(args)}; return ${call}; });`,
        )
        .join("\n"),
    )
    .join("\n")}
  process.stdout.write(JSON.stringify(out));
`;

describe("every form of starting a process", () => {
  let app: App;
  let run: Run;
  beforeAll(async () => {
    app = await makeApp({ "forms.mjs": FORMS });
    run = await app.run();
  });
  afterAll(() => app[Symbol.asyncDispose]());

  test.each(Object.keys(CALLS))("%s is one record that says how the process ended", (name) => {
    const found = (how: string): string[] =>
      run.actions.filter((span) => text(span, "audit.actor.id") === `agent:${name}/${how}`).map(summary);
    const [ok, fails, killed] = ["ok", "fails", "killed"].map(found);
    expect([ok?.length, fails?.length, killed?.length], run.stderr).toEqual([1, 1, 1]);
    expect(ok?.[0]).toMatch(/^process\.exec EXECUTE success process:\/(?:usr\/)?bin\/sh$/);
    expect(fails?.[0]).toMatch(/^process\.exec EXECUTE failure 3 process:/);
    expect(killed?.[0]).toMatch(/^process\.exec EXECUTE failure (?:SIGKILL|137) process:/);
  });

  test("nothing of the arguments is in a record, but their number", () => {
    for (const span of run.actions) {
      expect(JSON.stringify(span.attributes)).not.toContain("exit 3");
      expect(span.attributes?.["process.args_count"]).toBe(3);
      expect(text(span, "process.working_directory")).toBe(app.work);
      expect(span.attributes?.["audit.process.followed"]).toBe(false);
    }
    const spawned = run.actions.find((span) => text(span, "audit.actor.id") === "agent:spawn/fails");
    expect(spawned?.attributes).toMatchObject({ "process.exit.code": 3, "process.pid": expect.any(Number) });
  });
});

test("what does not start, is aborted or runs out of time is a failure that says so", async () => {
  await using app = await makeApp({
    "fails.mjs": `${PRELUDE}
      const say = (...words) => console.log(words.join(" "));
      say("spawn", await ended(cp.spawn("no-such-program")));
      say("execFile", await new Promise((resolve) => cp.execFile("no-such-program", (error) => resolve(error.code + " " + error.path))));
      say("spawnSync", cp.spawnSync("no-such-program").error.code);
      try { cp.execFileSync("no-such-program"); } catch (error) { say("execFileSync", error.code); }
      say("cwd", await ended(cp.spawn("sh", ["-c", "exit 0"], { cwd: "/nowhere" })));
      say("timeout", cp.spawnSync("sleep", ["9"], { timeout: 50 }).error.code);
      const controller = new AbortController();
      const aborted = cp.spawn("sleep", ["9"], { signal: controller.signal });
      setTimeout(() => controller.abort(), 50);
      say("abort", await ended(aborted));
      try { cp.spawn("a\\0b"); } catch (error) { say(error.code); }
      try { cp.spawnSync(""); } catch (error) { say(error.code); }
      try { cp.execSync("true", { cwd: 7 }); } catch (error) { say(error.code); }
    `,
  });
  const plain = await app.run({ nodeArgs: [] });
  const run = await app.run();
  expect(run.stdout).toBe(plain.stdout);
  expect(run.actions.map(summary)).toEqual([
    "process.exec EXECUTE failure ENOENT process:no-such-program",
    "process.exec EXECUTE failure ENOENT process:no-such-program",
    "process.exec EXECUTE failure ENOENT process:no-such-program",
    "process.exec EXECUTE failure ENOENT process:no-such-program",
    expect.stringMatching(/^process\.exec EXECUTE failure ENOENT process:.*\/sh$/),
    expect.stringMatching(/^process\.exec EXECUTE failure ETIMEDOUT process:.*\/sleep$/),
    expect.stringMatching(/^process\.exec EXECUTE failure SIGTERM process:.*\/sleep$/),
    expect.stringMatching(/^process\.exec EXECUTE failure ERR_INVALID_ARG_TYPE process:\/bin\/sh$/),
  ]);
});

const POLICY = `
policy: p
mode: enforce
default: allow
resources:
  shells: { process: ["/bin/sh", "/usr/bin/sh"] }
rules:
  - { id: no-shell, deny: { event: process.exec, resource: shells } }
`;

test("a denied process does not start, and the error comes the way each function has for errors", async () => {
  await using app = await makeApp({
    "denied.mjs": `${PRELUDE}
      const out = {};
      const touch = (name) => ["-c", "touch " + name.replaceAll(" ", "-")];
      ${Object.entries(CALLS)
        .map(
          ([name, call]) => `
        try {
          const file = "sh", args = touch(${JSON.stringify(name)});
          const result = await (${call});
          out[${JSON.stringify(name)}] = "returned " + (result?.code ?? result?.error?.code ?? result);
        } catch (error) { out[${JSON.stringify(name)}] = "threw " + error.code + " " + error.rule; }`,
        )
        .join("\n")}
      const child = cp.spawn("sh");
      let events = [];
      for (const event of ["spawn", "exit", "close", "error"]) child.on(event, () => events.push(event));
      await new Promise((resolve) => child.on("close", resolve));
      out.child = [child.pid, events, child.listenerCount("error"), Object.hasOwn(child, "emit")];
      process.stdout.write(JSON.stringify(out));
    `,
    "policy.yaml": POLICY,
  });
  const run = await app.run({ env: { OTEL_AUDIT_POLICY: `${app.dir}/policy.yaml` } });
  expect(JSON.parse(run.stdout)).toEqual({
    ...Object.fromEntries(Object.keys(CALLS).map((name) => [name, expect.stringContaining("EAUDITDENIED")])),
    child: [null, ["error", "close"], 1, false],
  });
  expect(readdirSync(app.work)).toEqual([]);
  expect(run.actions).toHaveLength(Object.keys(CALLS).length + 1);
  for (const span of run.actions)
    expect(summary(span)).toMatch(/^process\.exec EXECUTE failure policy_denied process:/);
});
