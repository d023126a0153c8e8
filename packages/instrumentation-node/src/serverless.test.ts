import { expect, test } from "vitest";

import { isAction, makeApp } from "./testing/run-app.ts";

const MAIN = `
  import { flush, withFlush } from "$INDEX"; import fs from "node:fs";
  const handler = withFlush(function (...args) {
    fs.readdirSync("$WORK");
    if (args[0] === "fail") throw new RangeError("no");
    return [this.name, args];
  }, { timeoutMs: 200 });
  console.log(JSON.stringify(await handler.call({ name: "self" }, 1, 2)));
  console.log(await handler.call({}, "fail").catch((error) => error.name));
  // As long as it takes to take over what an earlier process left.
  if (process.env.LINGERS) await new Promise((done) => process.stdin.once("data", done));
  await flush(200);
  process.exit();`;

test("a handler answers and fails as without it, also while nobody takes its records", async () => {
  await using app = await makeApp({ "main.mjs": MAIN });
  const expected = { code: 0, stdout: '["self",[1,2]]\nRangeError\n' };
  // An address that never answers: the wait is bounded.
  expect(await app.run({ env: { OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT: "http://192.0.2.1:4318" } })).toMatchObject(
    expected,
  );
  expect(app.sink.spans).toEqual([]);
  expect(await app.run({ env: { OTEL_AUDIT_DISABLED: "1" } })).toMatchObject(expected);
  await using child = await app.start({ env: { LINGERS: "1" } });
  await expect.poll(() => app.sink.spans.filter(isAction).length).toBe(4);
  child.stdin.write("\n");
  expect(await child.exited).toEqual({ code: 0, signal: null });
});
