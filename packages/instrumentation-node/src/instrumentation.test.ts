import { expect, test } from "vitest";

import { makeApp, summary, text } from "./testing/run-app.ts";
import { SCOPE_NAME, VERSION } from "./version.ts";

test("AuditInstrumentation is the audit that register started: one record an action", async () => {
  await using app = await makeApp({
    "main.mjs": `import fs from "node:fs"; import { AuditInstrumentation } from "$INDEX";
      const [a, b] = [new AuditInstrumentation(), new AuditInstrumentation()]; b.enable();
      fs.writeFileSync("f", "");
      console.log(a.instrumentationName, a.instrumentationVersion, JSON.stringify(a.getConfig()));`,
  });
  const run = await app.run();
  expect(run.stdout.trim()).toBe(`${SCOPE_NAME} ${VERSION} {"enabled":true}`);
  expect(run.actions.map(summary)).toEqual([`file.write WRITE success file://${app.work}/f`]);
  expect(run.stderr.trim().split("\n")).toHaveLength(1);
});

test("without register the constructor starts it, unless enabled is false", async () => {
  await using app = await makeApp({
    "main.mjs": `import fs from "node:fs"; import { AuditInstrumentation } from "$INDEX";
      const audit = new AuditInstrumentation({ enabled: false });
      fs.writeFileSync("before", ""); audit.enable(); fs.writeFileSync("after", "");`,
  });
  const run = await app.run({ nodeArgs: [] });
  expect(run.actions.map(summary)).toEqual([`file.write WRITE success file://${app.work}/after`]);
});

test("disable() unpatches, and leaves a record of it; enable() starts again", async () => {
  await using app = await makeApp({
    "main.mjs": `import fs, { writeFileSync } from "node:fs"; import { AuditInstrumentation } from "$INDEX";
      const bare = fs.writeFileSync; const audit = new AuditInstrumentation(); const patched = fs.writeFileSync;
      audit.disable();
      console.log(fs.writeFileSync === bare, patched === bare, writeFileSync === bare, audit.getConfig().enabled);
      fs.writeFileSync("while off", ""); patched("through a kept wrapper", "");
      audit.enable(); fs.writeFileSync("on again", ""); patched("kept and on again", "");`,
  });
  const run = await app.run({ nodeArgs: [] });
  expect(run.stdout.trim()).toBe("true false true false");
  expect(run.actions.map((span) => text(span, "file.path").split("/").at(-1))).toEqual([
    "on again",
    "kept and on again",
  ]);
  const bypass = run.control.find((span) => span.name === "audit.bypass");
  expect(bypass?.attributes).toMatchObject({
    "audit.bypass.kind": "audit_disabled",
    "audit.bypass.detail": "AuditInstrumentation.disable()",
  });
});

test("shutdown() sends everything and ends the audit", async () => {
  await using app = await makeApp({
    "main.mjs": `import fs from "node:fs"; import { shutdown } from "$INDEX";
      fs.writeFileSync("f", ""); await shutdown(); fs.writeFileSync("g", ""); process.exit(0);`,
  });
  const run = await app.run();
  expect(run.actions.map(summary)).toEqual([`file.write WRITE success file://${app.work}/f`]);
});

test("version and name are those of package.json", async () => {
  const { default: manifest } = await import("../package.json", { with: { type: "json" } });
  expect([SCOPE_NAME, VERSION]).toEqual([manifest.name, manifest.version]);
});

test("the application's promises, errors and order stay its own", async () => {
  const source = `import fs from "node:fs"; import fsp from "node:fs/promises";
    const log = [];
    process.on("unhandledRejection", (error) => log.push("unhandled " + error.code));
    fsp.readFile("none");
    fsp.readFile("none").catch((error) => log.push("caught " + error.code + " " + (error instanceof Error)));
    fs.readFile("none", function (error) { log.push("callback " + error.code + " " + arguments.length + " " + (this === undefined)); });
    try { fs.readFile("none"); } catch (error) { log.push("no callback " + error.code); }
    try { fs.readFileSync({}); } catch (error) { log.push("bad path " + error.code); }
    try { fs.readFileSync("none", { get flag() { throw new RangeError("mine"); } }); } catch (error) { log.push(error.message); }
    fsp.writeFile("f", "x").then((value) => log.push("value " + value));
    process.on("exit", () => console.log(JSON.stringify(log.sort())));`;
  await using app = await makeApp({ "main.mjs": source });
  const bare = await app.run({ nodeArgs: [] });
  const audited = await app.run();
  expect(JSON.parse(audited.stdout)).toEqual(JSON.parse(bare.stdout));
  expect(JSON.parse(bare.stdout)).toContain("unhandled ENOENT");
});
