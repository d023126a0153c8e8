import { assert, property, string } from "fast-check";
import { expect, test } from "vitest";

import { decodeTraces, frameSpans, type SpanData } from "@otel-audit/otlp";

import { resolveActor } from "./identity.ts";
import { newRecordId } from "./ids.ts";
import { Memo } from "./memo.ts";
import { text } from "./testing/run-app.ts";
import { type Begun, type Ended, MAX_TARGET_ID, RecordEncoder, SEQUENCE_BYTES } from "./record-encoder.ts";

type AuditRecord = Begun & Ended & { endMicros: number };

const BASE: AuditRecord = {
  sequence: 42,
  recordId: "01JD3XK5ZQ8V9W7T2R4P6N0M1B",
  event: "file.read",
  name: undefined,
  action: "READ",
  outcome: "success",
  errorType: undefined,
  actor: resolveActor({ id: "agent:a", name: "A", workflow: { name: "refund", id: "wf-1" } }, undefined),
  targets: [{ type: "file", id: "file:///a" }],
  verdict: {
    decision: "allow",
    enforcement: "observed",
    policyId: "none",
    policyVersion: "",
    ruleId: "default",
    reason: "no policy",
    action: "READ",
  },
  attributes: undefined,
  parent: undefined,
  startMicros: 1_763_764_800_123_456,
  endMicros: 1_763_764_800_123_999,
};

const encoder = new RecordEncoder();

function roundTrip(record: AuditRecord): SpanData {
  const head = encodeIntent(record);
  encoder.tail(record, { ...record, attributes: undefined }, record.endMicros);
  return decode(Buffer.concat([head, encoded()]));
}

function encoded(): Uint8Array {
  return Uint8Array.from(encoder.bytes.subarray(0, encoder.length));
}

/** Encodes an intent and returns what its outcome repeats. */
function encodeIntent(record: Begun): Uint8Array {
  encoder.intent(record);
  return encoded().subarray(0, encoder.headLength);
}

function decode(payload: Uint8Array): SpanData {
  const bytes = Uint8Array.from(payload.subarray(SEQUENCE_BYTES));
  const span = decodeTraces(frameSpans({}, { name: "test" }, [bytes])).resourceSpans[0]?.scopeSpans[0]?.spans[0];
  if (span === undefined) throw new Error("no span");
  return span;
}

test("a record has every required attribute, and times to the microsecond", () => {
  const span = roundTrip(BASE);
  expect(span).toMatchObject({
    name: "file.read",
    kind: 1,
    startTimeUnixNano: 1_763_764_800_123_456_000n,
    endTimeUnixNano: 1_763_764_800_123_999_000n,
    flags: 0x101,
  });
  expect(span.traceId).toMatch(/^[0-9a-f]{32}$/);
  expect(span.parentSpanId).toBeUndefined();
  expect(span.status).toBeUndefined();
  expect(span.attributes).toEqual({
    "audit.event.name": "file.read",
    "audit.action": "READ",
    "audit.outcome": "success",
    "audit.record.id": "01JD3XK5ZQ8V9W7T2R4P6N0M1B",
    "audit.record.origin": "effect",
    "audit.producer.sequence": 42,
    "audit.schema.version": "1.0.0",
    "audit.actor.id": "agent:a",
    "audit.actor.type": "agent",
    "gen_ai.agent.name": "A",
    "gen_ai.workflow.name": "refund",
    "audit.workflow.id": "wf-1",
    "audit.policy.decision": "allow",
    "audit.policy.enforcement": "observed",
    "audit.policy.id": "none",
    "audit.policy.rule.id": "default",
    "audit.policy.reason": "no policy",
    "audit.target.type": "file",
    "audit.target.id": "file:///a",
  });
});

test("a failure, the application's span as parent, several targets, nobody as actor", () => {
  const span = roundTrip({
    ...BASE,
    event: "db.statement",
    name: "SELECT app",
    outcome: "failure",
    errorType: "23505",
    actor: undefined,
    targets: [
      { type: "database.table", id: "postgresql://user:secret@db/app/public.a", access: "write" },
      { type: "database.table", id: "postgresql://db/app/public.b", access: "read" },
      { type: "database.table", id: "postgresql://db/app/public.b", access: "read" },
    ],
    parent: {
      traceId: "0af7651916cd43dd8448eb211c80319c",
      spanId: "b7ad6b7169203331",
      traceState: { serialize: () => "a=b" },
    },
  });
  expect(span).toMatchObject({
    name: "SELECT app",
    kind: 3,
    traceId: "0af7651916cd43dd8448eb211c80319c",
    parentSpanId: "b7ad6b7169203331",
    traceState: "a=b",
    status: { code: 2 },
  });
  expect(span.attributes).toMatchObject({
    "error.type": "23505",
    "audit.actor.type": "service",
    "audit.target.id": "postgresql://db/app/public.a",
    "audit.target.read_ids": ["postgresql://db/app/public.b"],
    "audit.target.write_ids": ["postgresql://db/app/public.a"],
  });
  expect(span.attributes).not.toHaveProperty("audit.actor.id");
});

test("each verdict and actor is encoded as itself, however many came before", () => {
  for (let i = 0; i < 40; i++) {
    const verdict = { ...BASE.verdict, ruleId: `rule-${i % 3}`, reason: `because ${i}`, targetName: `t${i}` };
    const { attributes } = roundTrip({ ...BASE, verdict, actor: resolveActor({ id: `agent:${i}` }, undefined) });
    expect(attributes).toMatchObject({
      "audit.policy.reason": `because ${i}`,
      "audit.target.name": `t${i}`,
      "audit.actor.id": `agent:${i}`,
    });
  }
});

test("any text and size comes through as well formed OTLP, targets bounded", () => {
  assert(
    property(string({ unit: "binary", maxLength: 6000 }), string({ unit: "binary" }), string(), (id, value, key) => {
      const { attributes } = roundTrip({
        ...BASE,
        errorType: value,
        targets: [{ type: "file", id }],
        attributes: { [`x.${key}`]: value, number: 7, list: [value] },
      });
      expect(Buffer.byteLength(text({ attributes }, "audit.target.id"))).toBeLessThanOrEqual(MAX_TARGET_ID);
      expect(attributes?.[`x.${key}`]).toBe(Buffer.from(value).toString());
      expect(attributes?.["number"]).toBe(7);
    }),
  );
});

test("record ids are 26 Crockford digits, unique, and sort as they were made", () => {
  const now = Date.now() * 1000;
  const ids = Array.from({ length: 5000 }, (_, i) => newRecordId(now + i));
  expect(new Set(ids).size).toBe(5000);
  for (const id of ids) expect(id).toMatch(/^[0-7][0-9A-HJKMNP-TV-Z]{25}$/);
  const inOneMillisecond = ids.slice(0, 500);
  expect(inOneMillisecond.toSorted()).toEqual(inOneMillisecond);
  expect(parseTime(ids[0]!)).toBe(Math.floor(now / 1000));
});

function parseTime(id: string): number {
  return Array.from(id.slice(0, 10)).reduce(
    (sum, digit) => sum * 32 + "0123456789ABCDEFGHJKMNPQRSTVWXYZ".indexOf(digit),
    0,
  );
}

test("texts of an application's choosing are bounded, the policy's is kept whole", () => {
  const long = "x".repeat(1_000_000);
  const document = "y".repeat(64 * 1024);
  const span = roundTrip({
    ...BASE,
    name: long,
    attributes: { "file.path": `/${long}`, "audit.policy.document": document, "http.response.status_code": 200 },
  });
  expect(Buffer.byteLength(span.name)).toBeLessThanOrEqual(256);
  expect(Buffer.byteLength(text(span, "file.path"))).toBeLessThanOrEqual(4096);
  expect(text(span, "file.path")).toMatch(/^\/x+…sha256:[0-9a-f]{32}$/);
  expect(text(span, "audit.policy.document")).toBe(document);
  expect(span.attributes).toMatchObject({ "http.response.status_code": 200 });
});

test("an intent is a record of its own, and its outcome repeats all of it but the end", () => {
  const attributes = { "file.path": "/a" };
  const begun = { ...BASE, attributes };
  const head = encodeIntent(begun);
  encoder.intent(begun);
  const intent = decode(encoded());
  expect(intent.attributes).toMatchObject({ "audit.outcome": "unknown", "file.path": "/a" });
  expect(intent.endTimeUnixNano).toBe(intent.startTimeUnixNano);
  const end = { outcome: "failure", errorType: "EIO" } as const;
  const attributesAtEnd = { "file.path": "/b", "http.response.status_code": 1 };
  encoder.tail(begun, { ...end, attributes: attributesAtEnd }, BASE.endMicros);
  const outcome = decode(Buffer.concat([head, encoded()]));
  expect(outcome).toMatchObject({ endTimeUnixNano: BigInt(BASE.endMicros) * 1000n, status: { code: 2 } });
  expect(outcome.attributes).toEqual({
    ...intent.attributes,
    "audit.outcome": "failure",
    "error.type": "EIO",
    "http.response.status_code": 1,
  });
});

test("a record that replaces another names it", () => {
  const supersedes = "01JD3XK5ZQ8V9W7T2R4P6N0M1A";
  expect(roundTrip({ ...BASE, supersedes }).attributes).toMatchObject({
    "audit.record.id": BASE.recordId,
    "audit.record.supersedes": supersedes,
  });
});

test.each([1, 127, 128, 2 ** 28 - 1, 2 ** 28, 2 ** 35, 2 ** 48 - 1])("the number %d", (sequence) => {
  expect(roundTrip({ ...BASE, sequence }).attributes?.["audit.producer.sequence"]).toBe(sequence);
});

test("what is remembered of an action is that of the action", () => {
  const memo = new Memo();
  const attributes = { "file.path": "/a" };
  expect(roundTrip({ ...BASE, attributes, memo })).toMatchObject({
    attributes: roundTrip({ ...BASE, attributes }).attributes,
  });
  const again = roundTrip({ ...BASE, recordId: "another", attributes, memo });
  expect(again.attributes).toMatchObject({
    ...attributes,
    "audit.record.id": "another",
    "audit.target.id": "file:///a",
  });
  // A policy can say that what looks like a READ is a WRITE.
  const verdict = { ...BASE.verdict, action: "WRITE" } as const;
  expect(roundTrip({ ...BASE, action: "WRITE", verdict, memo }).attributes?.["audit.action"]).toBe("WRITE");
  const actor = resolveActor({ id: "agent:b" }, undefined);
  expect(roundTrip({ ...BASE, actor, memo }).attributes?.["audit.actor.id"]).toBe("agent:b");
});

test("the end of a plain success is as long as that of the intent, and may take its place", () => {
  encoder.intent(BASE);
  const intent = encoded();
  encoder.tail(BASE, { outcome: "success", errorType: undefined, attributes: undefined }, BASE.endMicros);
  intent.set(encoded(), intent.length - encoder.length);
  expect(decode(intent)).toEqual({
    ...roundTrip({ ...BASE, attributes: undefined }),
    traceId: expect.anything(),
    spanId: expect.anything(),
  });
});
