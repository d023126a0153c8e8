// What becomes of values, keys and times in a row (rules E5, E6, E7 and E9), case by case.
import { encodeAttribute, encodeSpan } from "@otel-audit/otlp";
import { describe, expect, test } from "vitest";
import { RowFlag } from "./row-format.ts";
import { NO_FACTS, encodeAttributes, encodeRow } from "./testing/encoded-row.ts";
import { SPAN } from "./testing/records.ts";

const twice = (key: string): Buffer => Buffer.concat([encodeAttribute(key, "first"), encodeAttribute(key, 2)]);

describe("values (E6)", () => {
  test("empty, absent and not sent are three things", () => {
    const row = encodeAttributes({ "audit.target.id": "", "audit.target.name": null, a: "", b: null });
    expect(row["TargetId"]).toBe("");
    expect(row.SpanAttributes).toEqual({ a: "", b: "" });
    expect(row.AttributeTypes).toEqual({ "audit.target.id": "empty", "audit.target.name": "absent", b: "absent" });
  });

  test.each([
    [1e21, "1e+21"],
    [1e-7, "1e-7"],
    [0.1, "0.1"],
    [123456789012345680000, "123456789012345680000"],
    [-0, "-0"],
    [Number.NaN, "NaN"],
    [Number.NEGATIVE_INFINITY, "-Infinity"],
    [5e-324, "5e-324"],
  ])("double %d is %s", (value, text) => {
    expect(encodeAttributes({ d: value }).SpanAttributes["d"]).toBe(text);
  });

  test("bytes that are not UTF-8 are kept, as value, in JSON and as key", () => {
    const bytes = Buffer.from(encodeAttribute("kXXk", ["vXXv"]));
    bytes.set([0xff, 0xfe], bytes.indexOf("XX"));
    bytes.set([0x80, 0xc3], bytes.indexOf("XX"));
    const row = encodeRow(Buffer.concat([encodeSpan(SPAN), bytes])).bytes;
    expect(Buffer.from(row).includes(Buffer.from([0x6b, 0xff, 0xfe, 0x6b]))).toBe(true);
    expect(Buffer.from(row).includes(Buffer.from([0x22, 0x76, 0x80, 0xc3, 0x76, 0x22]))).toBe(true);
  });

  test("control characters and quotes are escaped as RFC 8785 does", () => {
    const row = encodeAttributes({ j: ['"\\\b\f\n\r\t\u0001\u001f/<>&\u2028\u007f'] });
    expect(row.SpanAttributes["j"]).toBe('["\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001f/<>&\u2028\u007f"]');
  });
});

describe("repeated keys (E5)", () => {
  test("the first wins with its type, in a map, a typed column and a kvlist", () => {
    const map = encodeRow(Buffer.concat([encodeSpan(SPAN), twice("k")])).row;
    expect([map.Flags & RowFlag.RepeatedKey, map.SpanAttributes, map.AttributeTypes]).toEqual([1, { k: "first" }, {}]);
    const typed = encodeRow(Buffer.concat([encodeSpan(SPAN), twice("audit.target.id")])).row;
    expect([typed.Flags & RowFlag.RepeatedKey, typed["TargetId"], typed.AttributeTypes]).toEqual([1, "first", {}]);
    const nested = Buffer.from(encodeAttribute("o", { aa: 1, ab: 2 }));
    nested.write("aa", nested.lastIndexOf("ab"));
    const list = encodeRow(Buffer.concat([encodeSpan(SPAN), nested])).row;
    expect([list.Flags & RowFlag.RepeatedKey, list.SpanAttributes]).toEqual([1, { o: '{"aa":1}' }]);
  });
});

function origin(sent: string, facts = NO_FACTS): unknown {
  return encodeAttributes({ "audit.record.origin": sent }, facts)["Origin"];
}

describe("collector-only attributes (E9)", () => {
  test("are stripped and flagged wherever they stand", () => {
    const forged = {
      "audit.tenant.id": "x",
      "audit.truncated.a": "y",
      "audit.raw.b": "z",
      "audit.actor.provenance": "verified",
    };
    const body = encodeSpan({
      ...SPAN,
      attributes: { ...forged, kept: "1" },
      events: [{ timeUnixNano: 1n, name: "e", attributes: forged }],
    });
    const { row } = encodeRow(body, NO_FACTS, { ...forged, kept: "2" });
    expect(row.Flags & RowFlag.CollectorAttributeStripped).toBeTruthy();
    expect(row).toMatchObject({ TenantId: "", Provenance: "unattributed" });
    expect([row.SpanAttributes, row.ResourceAttributes, row["Events.Attributes"]]).toEqual([
      { kept: "1" },
      { kept: "2" },
      [{}],
    ]);
  });

  test("origin: effect is the producer's claim, classified is the collector's word", () => {
    expect(origin("effect")).toBe("effect");
    expect(origin("classified")).toBe("reported");
    expect(origin("anything")).toBe("reported");
    expect(origin("effect", { ...NO_FACTS, origin: "classified" })).toBe("classified");
  });

  test("provenance: asserted needs an actor, verified has its principal", () => {
    expect(encodeAttributes({ "audit.actor.id": "a" })).toMatchObject({ Provenance: "asserted" });
    expect(encodeAttributes({}, { ...NO_FACTS, provenance: "verified", principal: "p" })).toMatchObject({
      Provenance: "verified",
      Principal: "p",
    });
  });
});

describe("times (E7)", () => {
  test("beyond Int64 is clamped, flagged and kept", () => {
    const { row } = encodeRow(
      encodeSpan({ ...SPAN, startTimeUnixNano: 2n ** 64n - 2n, endTimeUnixNano: 2n ** 64n - 1n }),
    );
    expect(row).toMatchObject({ Timestamp: 2n ** 63n - 1n, Duration: 1n });
    expect(row.Flags & RowFlag.TimeClamped).toBeTruthy();
    expect(row.SpanAttributes).toEqual({
      "audit.raw.start_time_unix_nano": "18446744073709551614",
      "audit.raw.end_time_unix_nano": "18446744073709551615",
    });
  });

  test("end before start has no duration, and keeps its end", () => {
    const { row } = encodeRow(encodeSpan({ ...SPAN, startTimeUnixNano: 2n ** 33n, endTimeUnixNano: 2n ** 33n - 1n }));
    expect(row).toMatchObject({ Timestamp: 2n ** 33n, Duration: 0n });
    expect(row.Flags & RowFlag.NegativeDuration).toBeTruthy();
    expect(row.SpanAttributes).toEqual({ "audit.raw.end_time_unix_nano": "8589934591" });
  });
});
