import { assert, property, uint8Array } from "fast-check";
import { expect, test } from "vitest";

import { encodePartialSuccess } from "@otel-audit/otlp";

import { rejectedSpans } from "./shipper.ts";

test.each([
  [0, ""],
  [1, "one"],
  [512, "x".repeat(100)],
  [3, "x".repeat(5000)],
])("%d rejected spans", (rejected, message) => {
  expect(rejectedSpans(encodePartialSuccess(rejected, message))).toBe(rejected);
});

test("whatever else is answered is a number of spans", () => {
  assert(
    property(uint8Array({ maxLength: 40 }), (body) => {
      const rejected = rejectedSpans(body);
      expect(rejected).toBeGreaterThanOrEqual(0);
      expect(Number.isNaN(rejected)).toBe(false);
    }),
  );
});
