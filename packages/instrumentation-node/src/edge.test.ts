import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { rolldown } from "rolldown";
import { describe, expect, test } from "vitest";

import { type App, makeApp, REGISTER, type Run, summary, text } from "./testing/run-app.ts";

/** What was noticed of ways around the audit, as `actor kind detail`. */
function bypasses(run: Run): string[] {
  return [...run.actions, ...run.control]
    .filter((span) => text(span, "audit.event.name") === "audit.bypass")
    .map(
      (span) =>
        `${text(span, "audit.actor.id")} ${text(span, "audit.bypass.kind")} ${text(span, "audit.bypass.detail")}`,
    )
    .toSorted();
}

const DENY_BYPASS = `
policy: p
mode: enforce
default: deny
rules:
  - { id: node, allow: { event: [file.read, file.list] } }
  - { id: nobody-goes-around, deny: { event: audit.bypass } }
`;

/** Code of a program and what is noticed of it. `agent` does it, unless it is found by looking. */
const WAYS: readonly (readonly [name: string, code: string, noticed: readonly string[]])[] = [
  [
    "process.binding, twice",
    `process.binding("fs"); process.binding("fs"); process.binding("natives");`,
    [`agent process_binding process.binding("fs")`],
  ],
  [
    "the handle of a ChildProcess",
    `const { ChildProcess } = require("node:child_process");
     const child = new ChildProcess().on("error", () => {});
     let form;
     child._handle.spawn = (...args) => { form = args; return -2; };
     child.spawn({ file: "/nowhere/x", args: ["x"], stdio: "ignore" });
     new ChildProcess()._handle.spawn(...form);`,
    ["agent process_binding spawn of the handle of a ChildProcess"],
  ],
  [
    "a native add-on",
    `try { process.dlopen({ exports: {} }, "/nowhere/x.node"); } catch (error) { if (error.code !== "ERR_DLOPEN_FAILED") throw error; }`,
    ["agent native_addon /nowhere/x.node"],
  ],
  [
    "hooks of the module loader",
    `require("node:module").register("data:text/javascript,export const secret = 1");`,
    [`agent module_hooks module.register("data:")`],
  ],
  ["the debugger", `require("node:inspector");`, ["system:otel-audit inspector node:inspector was loaded"]],
  ["WebAssembly with files", `require("node:wasi");`, ["system:otel-audit uncovered_builtin node:wasi was loaded"]],
  [
    "a patch taken out",
    `delete require("node:dgram").Socket.prototype.send; require("node:http").request = undefined;`,
    ["system:otel-audit patch_removed request, send"],
  ],
  [
    "patches replaced",
    `globalThis.fetch = async () => {}; const fs = require("node:fs"); const { readFileSync } = fs; fs.readFileSync = (...args) => readFileSync(...args);`,
    ["system:otel-audit patch_replaced fetch, readFileSync"],
  ],
  [
    "a patch wrapped as shimmer does it",
    `const fs = require("node:fs"); const { statSync } = fs; const original = fs.readFileSync; fs.readFileSync = Object.assign((...args) => original(...args), { __original: original });`,
    [],
  ],
  ["nothing", `require("node:fs").readFileSync("$DIR/app.cjs"); require("node:vm").runInNewContext("1");`, []],
];

describe("ways around the audit", () => {
  test.each(WAYS)("%s", async (_, code, noticed) => {
    await using app = await makeApp({ "app.cjs": code });
    const agent = { OTEL_AUDIT_AGENT_ID: "agent" };
    expect(bypasses(await app.run({ env: agent }))).toEqual(noticed);
  });

  test.each(["process.binding('fs')", "process.dlopen({ exports: {} }, '/nowhere/x.node')"])(
    "%s goes on under a policy that denies by default, and is stopped by a rule about audit.bypass",
    async (code) => {
      await using app = await makeApp({
        "app.cjs": `try { ${code}; console.log("done"); } catch (error) { console.log(error.code); }`,
        "default.yaml": DENY_BYPASS.replace(/.*nobody-goes-around.*\n/, ""),
        "rule.yaml": DENY_BYPASS,
      });
      const run = (policy: string): Promise<Run> => app.run({ env: { OTEL_AUDIT_POLICY: join(app.dir, policy) } });
      expect((await run("default.yaml")).stdout).toMatch(/^done$|^ERR_DLOPEN_FAILED$/m);
      expect((await run("rule.yaml")).stdout).toBe("EAUDITDENIED\n");
      expect(bypasses(await run("rule.yaml"))).toHaveLength(3);
    },
  );

  test("where nobody's actions are ignored, ways around the audit are not", async () => {
    await using app = await makeApp({
      "app.cjs": `process.binding("tcp_wrap"); require("node:fs").readFileSync("$DIR/app.cjs");`,
    });
    const run = await app.run({ env: { OTEL_AUDIT_UNATTRIBUTED: "ignore" } });
    expect(run.actions).toEqual([]);
    expect(bypasses(run)).toEqual([`system:otel-audit process_binding process.binding("tcp_wrap")`]);
  });

  test("flags that open a process are noticed at its start", async () => {
    await using app = await makeApp({ "app.cjs": "" });
    const run = await app.run({ nodeArgs: ["--inspect=127.0.0.1:0", "--expose-internals", "--import", REGISTER] });
    expect(bypasses(run)).toEqual([
      "system:otel-audit inspector --inspect",
      "system:otel-audit node_flag --expose-internals",
    ]);
  });

  test("what happens under suppressTracing of OpenTelemetry is recorded as ever", async () => {
    await using app = await makeApp({
      "app.mjs": `
        import { readFileSync } from "node:fs";
        import { context } from ${JSON.stringify(import.meta.resolve("@opentelemetry/api"))};
        import { AsyncLocalStorageContextManager } from ${JSON.stringify(import.meta.resolve("@opentelemetry/context-async-hooks"))};
        import { suppressTracing } from ${JSON.stringify(import.meta.resolve("@opentelemetry/core"))};
        context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
        context.with(suppressTracing(context.active()), () => readFileSync("$DIR/app.mjs"));
      `,
    });
    const run = await app.run();
    expect(run.actions.map(summary)).toEqual([`file.read READ success file://${app.dir}/app.mjs`]);
  });
});

/** Makes a process look like another runtime, before the audit starts. */
const DISGUISES: readonly (readonly [name: string, preload: string, says: string])[] = [
  [
    "Bun",
    `Object.defineProperty(process, "versions", { value: { ...process.versions, bun: "1.3.0" } })`,
    "Bun 1.3.0 has files",
  ],
  ["Deno", "globalThis.Deno = {}", "Deno has files"],
];

/** What a run says in both modes: its output, what was noticed, how it ended. */
async function inBothModes(app: App, nodeArgs: readonly string[]): Promise<unknown> {
  const observed = await app.run({ nodeArgs });
  const noticed = bypasses(observed);
  const enforced = await app.run({ nodeArgs, env: { OTEL_AUDIT_POLICY: join(app.dir, "policy.yaml") } });
  return {
    observed: observed.stdout,
    noticed,
    enforced: enforced.stdout,
    code: enforced.code,
    stderr: enforced.stderr,
  };
}

function refusal(says: string): unknown {
  return {
    observed: "ran\n",
    noticed: [expect.stringContaining(`system:otel-audit runtime `)],
    enforced: "",
    code: 1,
    stderr: expect.stringMatching(`what cannot be seen cannot be enforced: .*${says}`),
  };
}

describe("where not everything can be seen", () => {
  test.each(DISGUISES)("%s is a gap when observing and refused when enforcing", async (_, preload, says) => {
    await using app = await makeApp({ "app.cjs": `console.log("ran")`, "policy.yaml": DENY_BYPASS });
    const disguise = `data:text/javascript,${encodeURIComponent(preload)}`;
    expect(await inBothModes(app, ["--import", disguise, "--import", REGISTER])).toEqual(refusal(says));
  });

  test("so is a bundle", async () => {
    await using app = await makeApp({ "app.cjs": "", "policy.yaml": DENY_BYPASS });
    writeFileSync(join(app.dir, "dependency.cjs"), `exports.ran = "ran";`);
    writeFileSync(join(app.dir, "main.mjs"), `import { ran } from "./dependency.cjs"; console.log(ran);`);
    const built = await rolldown({ input: join(app.dir, "main.mjs"), platform: "node", logLevel: "silent" });
    await built.write({ file: join(app.dir, "app.cjs"), format: "cjs" });
    expect(await inBothModes(app, ["--import", REGISTER])).toEqual(refusal("app.cjs is a bundle"));
  });
});
