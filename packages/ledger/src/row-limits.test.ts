import { createHash } from "node:crypto";
import { type Attributes, encodeAttribute, encodeSpan, frameSpans, scanTraces } from "@otel-audit/otlp";
import { ATTRIBUTE_COLUMNS } from "@otel-audit/semantic-conventions";
import { describe, expect, test } from "vitest";
import { ByteBuffer } from "./byte-buffer.ts";
import { decodeRow, readRowKey, rowHash } from "./row-decode.ts";
import { RowEncoder } from "./row-encoder.ts";
import { COLUMNS, LIMITS, RowFlag, TYPED_COLUMNS } from "./row-format.ts";
import type { CollectorFacts, JudgedEvent } from "./types.ts";

const FACTS: CollectorFacts = { provenance: "asserted", principal: "", tenantId: "" };
const BASE = {
  traceId: "0af7651916cd43dd8448eb211c80319c",
  spanId: "b7ad6b7169203331",
  name: "read",
  startTimeUnixNano: 10n,
  endTimeUnixNano: 30n,
};

const twice = (key: string): Buffer => Buffer.concat([encodeAttribute(key, "first"), encodeAttribute(key, 2)]);

function broken(): never {
  throw new Error("no policy");
}

interface Row extends Record<string, unknown> {
  readonly Flags: number;
  readonly SpanAttributes: Record<string, string>;
  readonly ResourceAttributes: Record<string, string>;
  readonly AttributeTypes: Record<string, string>;
}

function encode(body: Uint8Array, facts = FACTS, resource: Attributes = {}): { row: Row; bytes: Uint8Array } {
  const index = scanTraces(frameSpans(resource, { name: "" }, [body]));
  const encoder = new RowEncoder();
  const out = new ByteBuffer(16);
  encoder.begin(facts);
  encoder.encode(out, index, 0);
  const bytes = out.bytes.subarray(0, out.length);
  expect(bytes.length).toBeLessThanOrEqual(LIMITS.record);
  const { row, end } = decodeRow(bytes, 0);
  expect(end).toBe(bytes.length);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the columns of format 1
  return { row: row as Row, bytes };
}

function encodeAttributes(attributes: Attributes, facts = FACTS): Row {
  return encode(encodeSpan({ ...BASE, attributes }), facts).row;
}

function digest(bytes: string | Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}:${Buffer.from(bytes).length}`;
}

test("the typed columns of format 1 are those of the conventions", () => {
  const fromConventions = ATTRIBUTE_COLUMNS.filter(({ collectorOnly }) => !collectorOnly);
  expect(
    TYPED_COLUMNS.map(({ attribute, column, entries }) => ({
      attribute,
      column,
      type: entries === undefined ? "string" : "string[]",
    })).toSorted((a, b) => (a.attribute < b.attribute ? -1 : 1)),
  ).toEqual(
    fromConventions
      .map(({ attribute, column, type }) => ({ attribute, column, type }))
      .toSorted((a, b) => (a.attribute < b.attribute ? -1 : 1)),
  );
});

test("format 1 is frozen: columns and one whole row", () => {
  const names = COLUMNS.map(({ name, type }) => `${name} ${type}`).join("\n");
  expect(createHash("sha256").update(names).digest("hex")).toBe(
    "cfba98ea9dabcc75490768a3f98e2d0a8db9c83ac635468f558443e2aca50ddb",
  );
  const body = encodeSpan({
    ...BASE,
    attributes: { "audit.action": "READ", "audit.actor.id": "agent:a", "audit.record.id": "r1", n: 1, b: [true, "x"] },
  });
  const { bytes } = encode(body, { ...FACTS, principal: "p", tenantId: "t" }, { "service.name": "s" });
  expect(rowHash(bytes)).toBe("f8aac0ca248dae093ef4d96df3100123c7f50f299a24559df26157d5d1914931");
});

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
    const row = encode(Buffer.concat([encodeSpan(BASE), bytes])).bytes;
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
    const map = encode(Buffer.concat([encodeSpan(BASE), twice("k")])).row;
    expect([map.Flags & RowFlag.RepeatedKey, map.SpanAttributes, map.AttributeTypes]).toEqual([1, { k: "first" }, {}]);
    const typed = encode(Buffer.concat([encodeSpan(BASE), twice("audit.target.id")])).row;
    expect([typed.Flags & RowFlag.RepeatedKey, typed["TargetId"], typed.AttributeTypes]).toEqual([1, "first", {}]);
    const nested = Buffer.from(encodeAttribute("o", { aa: 1, ab: 2 }));
    nested.write("aa", nested.lastIndexOf("ab"));
    const list = encode(Buffer.concat([encodeSpan(BASE), nested])).row;
    expect([list.Flags & RowFlag.RepeatedKey, list.SpanAttributes]).toEqual([1, { o: '{"aa":1}' }]);
  });
});

describe("collector-only attributes (E9)", () => {
  test("are stripped and flagged wherever they stand", () => {
    const forged = {
      "audit.tenant.id": "x",
      "audit.truncated.a": "y",
      "audit.raw.b": "z",
      "audit.actor.provenance": "verified",
    };
    const body = encodeSpan({
      ...BASE,
      attributes: { ...forged, kept: "1" },
      events: [{ timeUnixNano: 1n, name: "e", attributes: forged }],
    });
    const { row } = encode(body, FACTS, { ...forged, kept: "2" });
    expect(row.Flags & RowFlag.CollectorAttributeStripped).toBeTruthy();
    expect(row).toMatchObject({ TenantId: "", Provenance: "unattributed" });
    expect([row.SpanAttributes, row.ResourceAttributes, row["Events.Attributes"]]).toEqual([
      { kept: "1" },
      { kept: "2" },
      [{}],
    ]);
  });

  test("origin: effect is the producer's claim, classified is the collector's word", () => {
    const origin = (sent: string, facts = FACTS): unknown =>
      encodeAttributes({ "audit.record.origin": sent }, facts)["Origin"];
    expect(origin("effect")).toBe("effect");
    expect(origin("classified")).toBe("reported");
    expect(origin("anything")).toBe("reported");
    expect(origin("effect", { ...FACTS, origin: "classified" })).toBe("classified");
  });

  test("provenance: asserted needs an actor, verified has its principal", () => {
    expect(encodeAttributes({ "audit.actor.id": "a" })).toMatchObject({ Provenance: "asserted" });
    expect(encodeAttributes({}, { ...FACTS, provenance: "verified", principal: "p" })).toMatchObject({
      Provenance: "verified",
      Principal: "p",
    });
  });
});

describe("times (E7)", () => {
  test("beyond Int64 is clamped, flagged and kept", () => {
    const { row } = encode(encodeSpan({ ...BASE, startTimeUnixNano: 2n ** 64n - 2n, endTimeUnixNano: 2n ** 64n - 1n }));
    expect(row).toMatchObject({ Timestamp: 2n ** 63n - 1n, Duration: 1n });
    expect(row.Flags & RowFlag.TimeClamped).toBeTruthy();
    expect(row.SpanAttributes).toEqual({
      "audit.raw.start_time_unix_nano": "18446744073709551614",
      "audit.raw.end_time_unix_nano": "18446744073709551615",
    });
  });

  test("end before start has no duration, and keeps its end", () => {
    const { row } = encode(encodeSpan({ ...BASE, startTimeUnixNano: 2n ** 33n, endTimeUnixNano: 2n ** 33n - 1n }));
    expect(row).toMatchObject({ Timestamp: 2n ** 33n, Duration: 0n });
    expect(row.Flags & RowFlag.NegativeDuration).toBeTruthy();
    expect(row.SpanAttributes).toEqual({ "audit.raw.end_time_unix_nano": "8589934591" });
  });
});

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
    const body = encodeSpan({ ...BASE, attributes: { ...many, "audit.target.id": "last" } });
    const { row } = encode(body);
    expect(row["TargetId"]).toBe("last");
    expect(Object.keys(row.SpanAttributes)).toHaveLength(257);
    expect(row.SpanAttributes["k255"]).toBe("v");
    expect(row.SpanAttributes["k256"]).toBeUndefined();
    expect(row.SpanAttributes["audit.truncated.record:span"]).toBe(digest(body));
    expect(row.Flags & RowFlag.PartsDropped).toBeTruthy();
  });

  test("a key above 256 bytes and events above 128 are left out", () => {
    const events = Array.from({ length: 130 }, () => ({ timeUnixNano: 1n, name: "e" }));
    const { row } = encode(encodeSpan({ ...BASE, attributes: { ["k".repeat(257)]: "v" }, events }));
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
    const body = encodeSpan({ ...BASE, ...parts });
    const { row } = encode(body);
    expect(row.Flags & RowFlag.RecordReduced).toBeTruthy();
    expect(row.SpanAttributes["audit.truncated.record:span"]).toBe(digest(body));
    const lengths = Object.entries(row.SpanAttributes)
      .filter(([key]) => !key.startsWith("audit."))
      .map(([, value]) => value.length);
    expect(Math.max(0, ...lengths)).toBe(longest);
  });

  test("a resource that is too large reduces the record too", () => {
    const resource = Object.fromEntries(Array.from({ length: 10 }, (_, i) => [`r${i}`, "v".repeat(40_000)]));
    const { row } = encode(encodeSpan({ ...BASE, attributes: { "audit.target.id": "t" } }), FACTS, resource);
    expect(row.Flags & RowFlag.RecordReduced).toBeTruthy();
    expect(row["TargetId"]).toBe("t");
    expect(Object.keys(row.SpanAttributes)).toEqual(["audit.truncated.record:resource", "audit.truncated.record:span"]);
  });

  test("a repeated large key does not hide what comes after it", () => {
    const big = encodeAttribute("k", "v".repeat(60_000));
    const body = Buffer.concat([encodeSpan(BASE), big, big, big, big, big, encodeAttribute("after", "1")]);
    const { row } = encode(body);
    expect(row.SpanAttributes["after"]).toBe("1");
    expect(row.Flags & RowFlag.RecordReduced).toBe(0);
  });

  test("the collector's own texts are bounded", () => {
    const verdict = { decision: "deny", policyId: "p", policyVersion: "v", ruleId: "r", reason: "x".repeat(10_000) };
    const row = encodeAttributes(
      {},
      { ...FACTS, principal: "p".repeat(999), tenantId: "t".repeat(999), judge: () => verdict },
    );
    expect(row).toMatchObject({
      Principal: "p".repeat(256),
      TenantId: "t".repeat(256),
      CollectorPolicyReason: "x".repeat(2048),
    });
  });
});

describe("the collector's verdict", () => {
  const attributes = {
    "audit.event.name": "db.statement",
    "audit.action": "UPDATE",
    "audit.actor.id": "agent:a",
    "audit.actor.type": "agent",
    "audit.actor.chain": ["agent:root"],
    "audit.on_behalf_of.id": "user:1",
    "gen_ai.workflow.name": "refund",
    "gen_ai.tool.name": "sql",
    "audit.target.type": "database.table",
    "audit.target.id": "t1",
    "audit.target.read_ids": ["t2", "t1"],
    "audit.target.write_ids": ["t1"],
    "audit.policy.decision": "allow",
    "audit.collector.policy.decision": "allow",
  };
  const verdict = { decision: "deny", policyId: "p", policyVersion: "sha256:1", ruleId: "r", reason: "because" };

  test("judges what is stored, and stands beside the producer's", () => {
    const seen: JudgedEvent[] = [];
    const row = encodeAttributes(attributes, { ...FACTS, judge: (event) => (seen.push(event), verdict) });
    expect(seen).toEqual([
      {
        event: "db.statement",
        action: "UPDATE",
        targets: [
          { type: "database.table", id: "t1", access: "write" },
          { type: "database.table", id: "t2", access: "read" },
        ],
        actorId: "agent:a",
        actorType: "agent",
        actorChain: ["agent:root"],
        onBehalfOf: "user:1",
        workflow: "refund",
        tool: "sql",
      },
    ]);
    expect(row).toMatchObject({
      PolicyDecision: "allow",
      CollectorDecision: "deny",
      CollectorPolicyId: "p",
      CollectorPolicyVersion: "sha256:1",
      CollectorPolicyRule: "r",
      CollectorPolicyReason: "because",
    });
  });

  test.each([
    [true, true],
    ["true", true],
    [false, undefined],
    ["yes", undefined],
  ])("judges directories with all that is in them where the attribute says %j", (value, recursive) => {
    const seen: JudgedEvent[] = [];
    const copy = {
      "audit.event.name": "file.copy",
      "audit.target.type": "file",
      "audit.target.id": "file:///to",
      "audit.target.read_ids": ["file:///from"],
      "audit.target.write_ids": ["file:///to"],
      "audit.file.recursive": value,
    };
    encodeAttributes(copy, { ...FACTS, judge: (event) => (seen.push(event), verdict) });
    expect(seen[0]?.targets.map((target) => [target.id, target.recursive])).toEqual([
      ["file:///to", recursive],
      ["file:///from", recursive],
    ]);
  });

  test("is empty without a policy, whatever the producer sends", () => {
    expect(encodeAttributes(attributes)).toMatchObject({ CollectorDecision: "", CollectorPolicyRule: "" });
    expect(encodeAttributes(attributes, { ...FACTS, judge: () => undefined })).toMatchObject({ CollectorDecision: "" });
  });

  test("fails closed when the judge throws, and when it saw only a part", () => {
    expect(encodeAttributes(attributes, { ...FACTS, judge: broken })).toMatchObject({
      CollectorDecision: "deny",
      CollectorPolicyRule: "policy_error",
      CollectorPolicyReason: "no policy",
    });
    const hidden = { ...attributes, "audit.target.write_ids": Array.from({ length: 257 }, (_, i) => `w${i}`) };
    expect(encodeAttributes(hidden, { ...FACTS, judge: () => ({ ...verdict, decision: "allow" }) })).toMatchObject({
      CollectorDecision: "deny",
      CollectorPolicyId: "p",
      CollectorPolicyRule: "policy_error",
      CollectorPolicyReason: "audit.target.write_ids exceeds its limit and was cut",
    });
  });
});

describe("reading rows", () => {
  test("breaks off with CORRUPT at every length", () => {
    const { bytes } = encode(encodeSpan({ ...BASE, attributes: { a: 1 }, events: [{ timeUnixNano: 1n, name: "e" }] }));
    const key = { recordIdStart: 0, recordIdEnd: 0, principalStart: 0, principalEnd: 0, end: 0 };
    for (let length = 0; length < bytes.length; length++) {
      expect(() => decodeRow(bytes.subarray(0, length), 0)).toThrow(expect.objectContaining({ code: "CORRUPT" }));
      expect(() => readRowKey(bytes.subarray(0, length), 0, key)).toThrow(expect.objectContaining({ code: "CORRUPT" }));
    }
  });

  test("another format is refused", () => {
    const bytes = Buffer.from(encode(encodeSpan(BASE)).bytes);
    bytes[0] = 2;
    expect(() => decodeRow(bytes, 0)).toThrow("row format 2 is not known");
  });
});
