import { expect, test } from "vitest";

import { begin } from "./audit.ts";
import { record } from "./testing/recorder.ts";

const READ = { event: "file.read", action: "READ", targets: [{ type: "file", id: "file:///f" }] } as const;

test.each<[string, unknown, string]>([
  ["an aborted signal", AbortSignal.abort().reason, "AbortError"],
  ["a timeout", new DOMException("late", "TimeoutError"), "TimeoutError"],
  ["a DOMException without a number of its own", new DOMException("no", "NotAllowedError"), "NotAllowedError"],
  ["a system error", Object.assign(new Error("gone"), { code: "ENOENT", errno: -2 }), "ENOENT"],
  ["a numbered error of a library", Object.assign(new Error("duplicate"), { code: 11_000 }), "11000"],
  ["a code that says nothing", Object.assign(new RangeError("x"), { code: 0 }), "RangeError"],
  ["a code that is no number", Object.assign(new RangeError("x"), { code: Number.NaN }), "RangeError"],
  ["an error without a code", new TypeError("x"), "TypeError"],
  ["a text", "404", "404"],
  ["a thrown number", 7, "_OTHER"],
  [
    "an error that throws when it is looked at",
    new Proxy(new Error("x"), {
      get: () => {
        throw new Error("hands off");
      },
    }),
    "_OTHER",
  ],
])("error.type of %s", async (_, error, expected) => {
  using recorder = await record([]);
  begin(READ)?.end(error);
  expect(recorder.takeAttributes()).toMatchObject([{ "audit.outcome": "failure", "error.type": expected }]);
});
