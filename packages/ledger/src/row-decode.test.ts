import { encodeSpan } from "@otel-audit/otlp";
import { describe, expect, test } from "vitest";
import { decodeRow, readRowKey } from "./row-decode.ts";
import { encodeRow } from "./testing/encoded-row.ts";
import { SPAN } from "./testing/records.ts";

describe("reading rows", () => {
  test("breaks off with CORRUPT at every length", () => {
    const { bytes } = encodeRow(
      encodeSpan({ ...SPAN, attributes: { a: 1 }, events: [{ timeUnixNano: 1n, name: "e" }] }),
    );
    const key = { recordIdStart: 0, recordIdEnd: 0, principalStart: 0, principalEnd: 0, end: 0 };
    for (let length = 0; length < bytes.length; length++) {
      expect(() => decodeRow(bytes.subarray(0, length), 0)).toThrow(expect.objectContaining({ code: "CORRUPT" }));
      expect(() => readRowKey(bytes.subarray(0, length), 0, key)).toThrow(expect.objectContaining({ code: "CORRUPT" }));
    }
  });

  test("another format is refused", () => {
    const bytes = Buffer.from(encodeRow(encodeSpan(SPAN)).bytes);
    bytes[0] = 2;
    expect(() => decodeRow(bytes, 0)).toThrow("row format 2 is not known");
  });
});
