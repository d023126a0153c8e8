import { cpSync, mkdirSync, readdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { expect, test } from "vitest";

import { makeApp, text } from "../testing/run-app.ts";

const PACKAGES = fileURLToPath(new URL("../../..", import.meta.url));

const MAIN = `
  import { currentAgent, withAgent, withToolCall } from "@otel-audit/instrumentation-node";
  import fs from "node:fs";
  await withAgent({ id: "agent:a" }, async () => {
    console.log(currentAgent().id);
    await withToolCall({ name: "look" }, () => fs.readdirSync("$WORK"));
  });
  // What another copy is handed, and so the application, is what the package exports anyway.
  const shared = globalThis[Symbol.for("otel-audit.agents.1")];
  console.log(Object.keys(shared).join(" "), Object.isFrozen(shared));`;

test("what another copy of the package is told counts, and no more is in reach than the package exports", async () => {
  await using app = await makeApp({ "main.mjs": MAIN });
  const scope = join(app.dir, "node_modules", "@otel-audit");
  mkdirSync(scope, { recursive: true });
  for (const name of readdirSync(PACKAGES)) {
    if (name === "instrumentation-node") continue;
    symlinkSync(join(PACKAGES, name), join(scope, name));
  }
  for (const part of ["dist", "package.json"]) {
    const from = join(PACKAGES, "instrumentation-node", part);
    cpSync(from, join(scope, "instrumentation-node", part), { recursive: true, dereference: true });
  }
  const run = await app.run();
  expect(run).toMatchObject({ code: 0, stdout: "agent:a\nwithAgent currentAgent withToolCall true\n" });
  expect(run.actions.map((span) => `${text(span, "audit.actor.id")} ${text(span, "gen_ai.tool.name")}`)).toEqual([
    "agent:a look",
    "agent:a look",
  ]);
});
