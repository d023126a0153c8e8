import { createHash } from "node:crypto";
import { encodeAttribute, encodeSpan } from "@otel-audit/otlp";
import { describe, expect, test } from "vitest";
import { LIMITS, RowFlag, TYPED_COLUMNS } from "./row-format.ts";
import { NO_FACTS, encodeAttributes, encodeRow } from "./testing/encoded-row.ts";
import { SPAN } from "./testing/records.ts";

function digest(bytes: string | Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}:${Buffer.from(bytes).length}`;
}

describe("limits (E8)", () => {
  test("a value is cut at 64 KiB, between characters, with the hash of the whole", () => {
    const whole = `${"x".repeat(LIMITS.value - 1)}€€`;
    const row = encodeAttributes({ big: whole, exact: "y".repeat(LIMITS.value) });
    expect(row.SpanAttributes["big"]).toBe("x".repeat(LIMITS.value - 1));
    expect(row.SpanAttributes["exact"]).toHaveLength(LIMITS.value);
    expect(row.SpanAttributes["audit.truncated.big"]).toBe(digest(whole));
    expect(row.SpanAttributes["audit.truncated.exact"]).toBeUndefined();
    expect(row.Flags & RowFlag.ValueTruncated).toBeTruthy();
  });

  test("arrays and bytes are cut by their text, hashed by their bytes on the wire", () => {
    const bytes = new Uint8Array(60_000).fill(7);
    const row = encodeAttributes({ bytes, list: Array.from({ length: 30_000 }, () => 12) });
    expect(row.SpanAttributes["bytes"]).toBe(Buffer.from(bytes).toString("base64").slice(0, LIMITS.value));
    expect(row.SpanAttributes["audit.truncated.bytes"]).toBe(digest(bytes));
    expect(row.SpanAttributes["list"]).toHaveLength(LIMITS.value);
    expect(row.SpanAttributes["audit.truncated.list"]).toMatch(/^sha256:[0-9a-f]{64}:120000$/);
  });

  test("typed columns have their own limits", () => {
    const row = encodeAttributes({
      "audit.actor.id": "a".repeat(300),
      "audit.target.id": "t".repeat(3000),
      "audit.actor.chain": Array.from({ length: 10 }, (_, i) => `${i}`.repeat(300)),
      "audit.target.read_ids": Array.from({ length: 300 }, (_, i) => `r${i}`),
    });
    expect(row["ActorId"]).toBe("a".repeat(256));
    expect(row["TargetId"]).toBe("t".repeat(2048));
    expect(row["ActorChain"]).toEqual(Array.from({ length: 8 }, (_, i) => `${i}`.repeat(256)));
    expect(row["ReadTargets"]).toHaveLength(256);
    expect(row.SpanAttributes["audit.truncated.audit.actor.id"]).toBe(digest("a".repeat(300)));
    expect(Object.keys(row.SpanAttributes)).toHaveLength(4);
  });

  test("more than 256 attributes: the first ones by arrival, typed ones always", () => {
    const many = Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`k${String(i).padStart(3, "0")}`, "v"]));
    const body = encodeSpan({ ...SPAN, attributes: { ...many, "audit.target.id": "last" } });
    const { row } = encodeRow(body);
    expect(row["TargetId"]).toBe("last");
    expect(Object.keys(row.SpanAttributes)).toHaveLength(257);
    expect(row.SpanAttributes["k255"]).toBe("v");
    expect(row.SpanAttributes["k256"]).toBeUndefined();
    expect(row.SpanAttributes["audit.truncated.record:span"]).toBe(digest(body));
    expect(row.Flags & RowFlag.PartsDropped).toBeTruthy();
  });

  test("a key above 256 bytes and events above 128 are left out", () => {
    const events = Array.from({ length: 130 }, () => ({ timeUnixNano: 1n, name: "e" }));
    const { row } = encodeRow(encodeSpan({ ...SPAN, attributes: { ["k".repeat(257)]: "v" }, events }));
    expect(row["Events.Name"]).toHaveLength(128);
    expect(Object.keys(row.SpanAttributes)).toEqual(["audit.truncated.record:span"]);
  });

  test.each([
    [
      "values",
      { attributes: Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`k${i}`, "v".repeat(30_000)])) },
      512,
    ],
    [
      "keys and values",
      {
        attributes: Object.fromEntries(
          Array.from({ length: 256 }, (_, i) => [`k${i}`.padEnd(256, "x"), new Uint8Array(2000)]),
        ),
      },
      0,
    ],
    [
      "names",
      {
        name: "n".repeat(100_000),
        traceState: "s".repeat(100_000),
        status: { message: "m".repeat(70_000) },
        attributes: { k: "v".repeat(65_000), l: "v".repeat(65_000) },
      },
      512,
    ],
    ["events", { events: Array.from({ length: 128 }, () => ({ timeUnixNano: 1n, name: "e".repeat(3000) })) }, 0],
    [
      "typed columns",
      {
        attributes: Object.fromEntries(
          TYPED_COLUMNS.map(({ attribute, entries }) => [
            attribute,
            entries === undefined ? "€".repeat(5000) : Array.from({ length: 400 }, () => "€".repeat(5000)),
          ]),
        ),
      },
      0,
    ],
    [
      "nested",
      {
        attributes: {
          deep: Array.from({ length: 5000 }, (_, i) => ({ [`k${i}`]: { inner: [i, "\u0001".repeat(50)] } })),
          more: "x".repeat(65_000),
          evenMore: "y".repeat(65_000),
          andMore: "z".repeat(65_000),
          most: "w".repeat(65_000),
        },
      },
      512,
    ],
  ])("a record above 256 KiB by its %s is reduced, with the hash of the span", (_what, parts, longest) => {
    const body = encodeSpan({ ...SPAN, ...parts });
    const { row } = encodeRow(body);
    expect(row.Flags & RowFlag.RecordReduced).toBeTruthy();
    expect(row.SpanAttributes["audit.truncated.record:span"]).toBe(digest(body));
    const lengths = Object.entries(row.SpanAttributes)
      .filter(([key]) => !key.startsWith("audit."))
      .map(([, value]) => value.length);
    expect(Math.max(0, ...lengths)).toBe(longest);
  });

  test("a resource that is too large reduces the record too", () => {
    const resource = Object.fromEntries(Array.from({ length: 10 }, (_, i) => [`r${i}`, "v".repeat(40_000)]));
    const { row } = encodeRow(encodeSpan({ ...SPAN, attributes: { "audit.target.id": "t" } }), NO_FACTS, resource);
    expect(row.Flags & RowFlag.RecordReduced).toBeTruthy();
    expect(row["TargetId"]).toBe("t");
    expect(Object.keys(row.SpanAttributes)).toEqual(["audit.truncated.record:resource", "audit.truncated.record:span"]);
  });

  test("a repeated large key does not hide what comes after it", () => {
    const big = encodeAttribute("k", "v".repeat(60_000));
    const body = Buffer.concat([encodeSpan(SPAN), big, big, big, big, big, encodeAttribute("after", "1")]);
    const { row } = encodeRow(body);
    expect(row.SpanAttributes["after"]).toBe("1");
    expect(row.Flags & RowFlag.RecordReduced).toBe(0);
  });

  test("the collector's own texts are bounded", () => {
    const verdict = { decision: "deny", policyId: "p", policyVersion: "v", ruleId: "r", reason: "x".repeat(10_000) };
    const row = encodeAttributes(
      {},
      { ...NO_FACTS, principal: "p".repeat(999), tenantId: "t".repeat(999), judge: () => verdict },
    );
    expect(row).toMatchObject({
      Principal: "p".repeat(256),
      TenantId: "t".repeat(256),
      CollectorPolicyReason: "x".repeat(2048),
    });
  });
});
