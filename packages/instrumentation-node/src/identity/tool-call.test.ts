import { mkdirSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { afterEach, expect, test } from "vitest";

import { tempDir } from "../../../../test/support/index.ts";
import { fsDriver } from "../drivers/fs/driver.ts";
import { withAgent, withToolCall } from "../identity.ts";
import { type Recorder, record } from "../testing/recorder.ts";

const dir = tempDir("tools");
mkdirSync(join(dir, "kb"));
const file = join(dir, "kb", "faq.md");
writeFileSync(file, "");

let recorder: Recorder | undefined;
afterEach(() => recorder?.[Symbol.dispose]());

/** Each record as `event [tool] outcome [error]`, with the number of the record that caused it. */
function story(from: Recorder): string[] {
  const records = from.takeAttributes();
  const ids = records.map((each) => each["audit.record.id"]);
  return records.map((each) => {
    const cause = each["audit.cause.record.id"];
    const parts = ["audit.event.name", "gen_ai.tool.name", "gen_ai.tool.call.id", "audit.outcome", "error.type"];
    const text = parts
      .flatMap((key) => {
        const value = each[key];
        return typeof value === "string" ? [value] : [];
      })
      .join(" ");
    return cause === undefined ? text : `${text} <- ${ids.indexOf(cause)}`;
  });
}

test("what a tool does has its call as the cause, and carries its name", async () => {
  recorder = await record([fsDriver]);
  const answer = await withToolCall({ name: "lookup", callId: "call_1", server: "crm" }, async () => {
    await readFile(file);
    await withAgent({ id: "agent:helper" }, () => readFile(file));
    await withToolCall({ name: "inner" }, () => readFile(file));
    return 42;
  });
  await readFile(file);
  expect(answer).toBe(42);
  expect(recorder.spans.map((span) => [span.name, span.attributes?.["audit.target.id"]]).at(-2)).toEqual([
    "tool.call lookup",
    "tool:crm/lookup",
  ]);
  expect(story(recorder)).toEqual([
    "file.read lookup call_1 success <- 4",
    "file.read lookup call_1 success <- 4",
    "file.read inner success <- 3",
    "tool.call inner success <- 4",
    "tool.call lookup call_1 success",
    "file.read success",
  ]);
});

test("a tool that throws failed, at once or later; its error is the caller's", async () => {
  recorder = await record([]);
  const broken = new RangeError("no");
  await expect(withToolCall({ name: "a" }, () => Promise.reject(broken))).rejects.toBe(broken);
  const thrower = (): never => {
    throw broken;
  };
  await expect(withToolCall({ name: "b" }, thrower)).rejects.toBe(broken);
  expect(story(recorder)).toEqual(["tool.call a failure RangeError", "tool.call b failure RangeError"]);
});

test("a tool that answers in steps is done with the last one", async () => {
  recorder = await record([fsDriver]);
  const steps = await withToolCall({ name: "stream" }, async function* () {
    yield 1;
    await readFile(file);
    yield 2;
  });
  expect(story(recorder)).toEqual([]);
  await readFile(file);
  expect(await Array.fromAsync(steps)).toEqual([1, 2]);
  expect(story(recorder)).toEqual(["file.read success", "file.read stream success <- 2", "tool.call stream success"]);
  const left = await withToolCall({ name: "stream" }, async function* () {
    yield 1;
    yield 2;
  });
  for await (const step of left) if (step === 1) break;
  expect(story(recorder)).toEqual(["tool.call stream success"]);
});

const POLICY = `
policy: test
mode: enforce
default: allow
resources:
  pay: { tool: "pay" }
rules:
  - { id: no-pay, deny: { event: tool.call, resource: pay } }
  - { id: lookup-reads-nothing, deny: { event: "file.*", tool: lookup } }
`;

test("the policy stops a tool before it runs, and what a tool does by the tool's name", async () => {
  recorder = await record([fsDriver], POLICY);
  let ran = false;
  const pay = withToolCall({ name: "pay" }, () => (ran = true));
  await expect(pay).rejects.toMatchObject({ code: "EAUDITDENIED", rule: "no-pay" });
  expect(ran).toBe(false);
  const lookup = withToolCall({ name: "lookup" }, () => readFile(file));
  await expect(lookup).rejects.toMatchObject({ rule: "lookup-reads-nothing" });
  await withToolCall({ name: "search" }, () => readFile(file));
  expect(story(recorder)).toEqual([
    "tool.call pay failure policy_denied",
    "file.read lookup failure policy_denied <- 2",
    "tool.call lookup failure EAUDITDENIED",
    "file.read search success <- 4",
    "tool.call search success",
  ]);
});

test.each([{ name: "" }, {}, undefined])("%j is no tool", async (call) => {
  const result: unknown = Reflect.apply(withToolCall, undefined, [call, () => "ran"]);
  await expect(result).rejects.toMatchObject({ code: "INVALID_TOOL_CALL" });
});
