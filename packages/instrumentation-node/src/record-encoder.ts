import { type AttributeValue, encodeAttribute } from "@otel-audit/otlp/encoding";
import type { Verdict } from "@otel-audit/policy";
import {
  ATTR_AUDIT_ACTION,
  ATTR_AUDIT_ACTOR_TYPE,
  ATTR_AUDIT_CAUSE_RECORD_ID,
  ATTR_AUDIT_EVENT_NAME,
  ATTR_AUDIT_OUTCOME,
  ATTR_AUDIT_POLICY_DOCUMENT,
  ATTR_AUDIT_PRODUCER_SEQUENCE,
  ATTR_AUDIT_RECORD_ID,
  ATTR_AUDIT_RECORD_ORIGIN,
  ATTR_AUDIT_RECORD_SUPERSEDES,
  ATTR_AUDIT_SCHEMA_VERSION,
  ATTR_AUDIT_TARGET_ID,
  ATTR_AUDIT_TARGET_READ_IDS,
  ATTR_AUDIT_TARGET_TYPE,
  ATTR_AUDIT_TARGET_WRITE_IDS,
  ATTR_ERROR_TYPE,
  ATTR_GEN_AI_TOOL_CALL_ID,
  ATTR_GEN_AI_TOOL_NAME,
  AUDIT_ACTION_VALUE_READ,
  type AuditAction,
  type AuditOutcome,
  EVENT_CONNECTION_OPEN,
  EVENT_DB_STATEMENT,
  EVENT_HTTP_REQUEST,
  EVENT_TOOL_CALL,
  SCHEMA_VERSION,
} from "@otel-audit/semantic-conventions";

import { actorAttributes, attributes, sameVerdict, verdictAttributes } from "./attribute-blocks.ts";
import type { Target } from "./audit.ts";
import type { Actor, Tool } from "./identity.ts";
import { randomInto } from "./ids.ts";
import type { Memo } from "./memo.ts";
import { redactCredentials } from "./redaction.ts";
import { bound } from "./text.ts";
import type { ActiveSpan } from "./trace-context.ts";

type Attributes = Readonly<Record<string, AttributeValue>>;

/** What a record says before its action has run. */
export interface Begun {
  /** `audit.producer.sequence`: an integer from 1. */
  readonly sequence: number;
  readonly recordId: string;
  /** Id of the record with the outcome `unknown` that this one replaces. */
  readonly supersedes?: string | undefined;
  readonly event: string;
  readonly name: string | undefined;
  readonly action: AuditAction;
  readonly actor: Actor | undefined;
  /** The record that led to this one. */
  readonly cause?: string | undefined;
  /** The tool that is called, or whose call this is part of. */
  readonly tool?: Tool | undefined;
  readonly side?: "server" | undefined;
  readonly targets: readonly Target[];
  readonly verdict: Verdict;
  readonly attributes: Attributes | undefined;
  /** Room in the intent for attributes that only its end has, in bytes. */
  readonly endRoom?: number | undefined;
  readonly memo?: Memo | undefined;
  /** The application's active span when the action began: the record's parent. */
  readonly parent: ActiveSpan | undefined;
  /** Microseconds since 1970. */
  readonly startMicros: number;
}

/** What it says afterwards. */
export interface Ended {
  readonly outcome: AuditOutcome;
  readonly errorType: string | undefined;
  readonly attributes: Attributes | undefined;
}

/** What the end of a record needs to know of its beginning. */
export type Opened = Pick<Begun, "startMicros" | "attributes">;

/** `audit.target.id` is at most this long, in bytes. */
export const MAX_TARGET_ID = 2048;
/** As many of `audit.target.read_ids` and `.write_ids` are kept. */
const MAX_TARGETS = 256;
const MAX_ERROR_TYPE = 256;
const MAX_NAME = 256;
/** Other attributes; paths and URLs that no system takes arrive here, too. */
const MAX_VALUE = 4096;
/** The policy's text is kept whole: 64 KiB of it are allowed. */
const MAX_DOCUMENT = 64 * 1024;

const SPAN_KIND_INTERNAL = 1;
const SPAN_KIND_SERVER = 2;
const SPAN_KIND_CLIENT = 3;
const CLIENT_EVENTS: ReadonlySet<string> = new Set([
  EVENT_HTTP_REQUEST,
  EVENT_DB_STATEMENT,
  EVENT_TOOL_CALL,
  EVENT_CONNECTION_OPEN,
]);

const STATUS_ERROR = Uint8Array.of(0x7a, 2, 0x18, 2);
/** Sampled, and known not to be of a remote parent: OTLP's Span.flags (field 16, fixed32). */
const FLAGS = Uint8Array.of(0x85, 0x01, 0x01, 0x01, 0, 0);
const CONSTANT = Buffer.concat([
  FLAGS,
  attributes({ [ATTR_AUDIT_RECORD_ORIGIN]: "effect", [ATTR_AUDIT_SCHEMA_VERSION]: SCHEMA_VERSION }),
]);
const SEQUENCE_KEY = encodedKey(ATTR_AUDIT_PRODUCER_SEQUENCE);
const UNATTRIBUTED = attributes({ [ATTR_AUDIT_ACTOR_TYPE]: "service" });
const MAX_CACHED = 512;
/** Texts up to this length are copied by a loop. */
const SHORT = 64;

/**
 * Before the Span of a spool's frame stands the record's number, as an unsigned 48-bit integer, a byte that is 1 where an
 * intent has room for its end, and a zero byte.
 */
export const SEQUENCE_BYTES = 8;
export const ROOM_AT = 6;

const UNKNOWN: Ended = { outcome: "unknown", errorType: undefined, attributes: undefined };

/**
 * Writes records straight as OTLP Span messages into one reused buffer, behind their number. What repeats from record to
 * record (who, which verdict, which event) is encoded once and copied. The fields of a protobuf message may stand in any
 * order: what is known only afterwards stands last, so that an outcome is a copy of its intent with another end.
 */
export class RecordEncoder {
  #buffer = Buffer.allocUnsafe(16 * 1024);
  #at = 0;
  #headLength = 0;
  readonly #actors = new WeakMap<Actor, Uint8Array>();
  readonly #verdicts = new Map<string, { verdict: Verdict; bytes: Uint8Array }[]>();
  readonly #kinds = new Map<string, Map<AuditAction, Uint8Array>>();
  readonly #outcomes = new Map<AuditOutcome, Uint8Array>();
  readonly #keys = new Map<string, Uint8Array>();

  /** Where what was encoded last stands, from its beginning. */
  get bytes(): Buffer {
    return this.#buffer;
  }

  /** How much was encoded last. */
  get length(): number {
    return this.#at;
  }

  /**
   * So many bytes of the latest intent are known before the action runs; the outcome is these and another tail. That of a
   * success of which no more is to be said is as long as the intent's.
   */
  get headLength(): number {
    return this.#headLength;
  }

  /** Encodes a record whose end is not known: what is sent should it never be. */
  intent(record: Begun): void {
    this.#head(record);
    this.#tail(record, UNKNOWN, record.startMicros);
    if (record.endRoom !== undefined) this.#room(record.endRoom);
  }

  /** Behind the Span; the last byte says how much of it is left. */
  #room(length: number): void {
    this.#need(length);
    this.#buffer[ROOM_AT] = 1;
    this.#buffer.fill(0, this.#at, this.#at + length - 1);
    this.#at += length;
    this.#buffer[this.#at - 1] = length;
  }

  /** Encodes a record and how it ended. */
  whole(record: Begun, end: Ended, endMicros: number): void {
    this.#head(record);
    this.#tail(record, end, endMicros);
  }

  /** Encodes how a record ended. */
  tail(opened: Opened, end: Ended, endMicros: number): void {
    this.#at = 0;
    this.#tail(opened, end, endMicros);
  }

  #head(record: Begun): void {
    const { parent, sequence } = record;
    this.#buffer.writeUIntLE(sequence, 0, 6);
    this.#buffer.writeUInt16LE(0, 6);
    this.#at = SEQUENCE_BYTES;
    this.#ids(parent);
    this.#need(64);
    this.#time(0x39, record.startMicros);
    this.#attribute(ATTR_AUDIT_RECORD_ID, record.recordId);
    this.#sequence(sequence);
    if (record.supersedes !== undefined) this.#attribute(ATTR_AUDIT_RECORD_SUPERSEDES, record.supersedes);
    if (record.cause !== undefined) this.#attribute(ATTR_AUDIT_CAUSE_RECORD_ID, record.cause);
    if (record.tool !== undefined) {
      this.#attribute(ATTR_GEN_AI_TOOL_NAME, record.tool.name);
      if (record.tool.callId !== undefined) this.#attribute(ATTR_GEN_AI_TOOL_CALL_ID, record.tool.callId);
    }
    this.#common(record);
    this.#headLength = this.#at;
  }

  /** What is the same for every record of one action object, by one actor and with one verdict. */
  #common(record: Begun): void {
    const { event, action, actor, verdict, memo } = record;
    if (memo?.encoded !== undefined && memo.encodedVerdict === verdict && memo.encodedActor === actor) {
      this.#raw(memo.encoded);
      return;
    }
    const start = this.#at;
    this.#raw(CONSTANT);
    this.#string(0x2a, bound(record.name ?? event, MAX_NAME));
    this.#need(64);
    this.#byte(0x30);
    this.#byte(record.side === undefined ? kindOf(event) : SPAN_KIND_SERVER);
    this.#raw(this.#kind(event, action));
    this.#targets(record.targets, action === AUDIT_ACTION_VALUE_READ ? "read" : "write");
    this.#attributes(record.attributes, undefined);
    this.#raw(this.#actor(actor));
    this.#raw(this.#verdict(verdict));
    if (memo === undefined) return;
    memo.encoded = Uint8Array.from(this.#buffer.subarray(start, this.#at));
    memo.encodedVerdict = verdict;
    memo.encodedActor = actor;
  }

  #tail(record: Opened, end: Ended, endMicros: number): void {
    this.#need(64);
    this.#time(0x41, Math.max(endMicros, record.startMicros));
    this.#raw(this.#outcome(end.outcome));
    if (end.errorType !== undefined) this.#attribute(ATTR_ERROR_TYPE, bound(end.errorType, MAX_ERROR_TYPE));
    this.#attributes(end.attributes, record.attributes);
    if (end.outcome === "failure") this.#raw(STATUS_ERROR);
  }

  /** @param written attributes that stand there already: of a repeated key only the first counts */
  #attributes(attributes: Attributes | undefined, written: Attributes | undefined): void {
    if (attributes === undefined) return;
    for (const key in attributes) {
      const value = attributes[key];
      if (value === undefined || (written !== undefined && Object.hasOwn(written, key))) continue;
      const most = key === ATTR_AUDIT_POLICY_DOCUMENT ? MAX_DOCUMENT : MAX_VALUE;
      this.#attribute(key, typeof value === "string" ? bound(value, most) : value);
    }
  }

  /** `audit.producer.sequence`. */
  #sequence(value: number): void {
    const low = value % 2 ** 28;
    const high = Math.floor(value / 2 ** 28);
    const length = high === 0 ? varintLength(low) : 4 + varintLength(high);
    this.#need(SEQUENCE_KEY.length + 24);
    this.#byte(0x4a);
    this.#byte(SEQUENCE_KEY.length + 2 + 1 + length);
    this.#raw(SEQUENCE_KEY);
    this.#byte(0x12);
    this.#byte(1 + length);
    this.#byte(0x18);
    if (high === 0) {
      this.#varint(low);
      return;
    }
    for (let shift = 0; shift < 28; shift += 7) this.#byte(((low >>> shift) & 0x7f) | 0x80);
    this.#varint(high);
  }

  #ids(parent: ActiveSpan | undefined): void {
    this.#need(48);
    this.#byte(0x0a);
    this.#byte(16);
    if (parent === undefined) randomInto(this.#buffer, this.#at, 16);
    else this.#buffer.write(parent.traceId, this.#at, "hex");
    this.#at += 16;
    this.#byte(0x12);
    this.#byte(8);
    randomInto(this.#buffer, this.#at, 8);
    this.#at += 8;
    if (parent === undefined) return;
    this.#byte(0x22);
    this.#byte(8);
    this.#buffer.write(parent.spanId, this.#at, "hex");
    this.#at += 8;
    const state = parent.traceState?.serialize();
    if (typeof state === "string" && state !== "") this.#string(0x1a, bound(state, 512));
  }

  /** @param usual the side of what does not say on which it is: a proxy, what a symbolic link leads to */
  #targets(targets: readonly Target[], usual: "read" | "write"): void {
    const main = targets[0];
    if (main === undefined) return;
    this.#attribute(ATTR_AUDIT_TARGET_TYPE, main.type);
    this.#attribute(ATTR_AUDIT_TARGET_ID, targetId(main));
    if (targets.length < 2) return;
    const read = targets.filter(({ access = usual }) => access === "read").map(targetId);
    const write = targets.filter(({ access = usual }) => access === "write").map(targetId);
    if (read.length > 0) this.#attribute(ATTR_AUDIT_TARGET_READ_IDS, [...new Set(read)].slice(0, MAX_TARGETS));
    if (write.length > 0) this.#attribute(ATTR_AUDIT_TARGET_WRITE_IDS, [...new Set(write)].slice(0, MAX_TARGETS));
  }

  #actor(actor: Actor | undefined): Uint8Array {
    if (actor === undefined) return UNATTRIBUTED;
    let bytes = this.#actors.get(actor);
    if (bytes === undefined) {
      bytes = actorAttributes(actor);
      this.#actors.set(actor, bytes);
    }
    return bytes;
  }

  #verdict(verdict: Verdict): Uint8Array {
    let known = this.#verdicts.get(verdict.ruleId);
    if (known === undefined) {
      if (this.#verdicts.size >= MAX_CACHED) this.#verdicts.clear();
      this.#verdicts.set(verdict.ruleId, (known = []));
    }
    for (const entry of known) if (sameVerdict(entry.verdict, verdict)) return entry.bytes;
    const bytes = verdictAttributes(verdict);
    if (known.length < 16) known.push({ verdict, bytes });
    return bytes;
  }

  /** Event and action. */
  #kind(event: string, action: AuditAction): Uint8Array {
    let ofEvent = this.#kinds.get(event);
    if (ofEvent === undefined) {
      if (this.#kinds.size >= MAX_CACHED) this.#kinds.clear();
      this.#kinds.set(event, (ofEvent = new Map()));
    }
    let bytes = ofEvent.get(action);
    if (bytes === undefined) {
      bytes = attributes({ [ATTR_AUDIT_EVENT_NAME]: event, [ATTR_AUDIT_ACTION]: action });
      ofEvent.set(action, bytes);
    }
    return bytes;
  }

  #outcome(outcome: AuditOutcome): Uint8Array {
    let bytes = this.#outcomes.get(outcome);
    if (bytes === undefined) {
      bytes = attributes({ [ATTR_AUDIT_OUTCOME]: outcome });
      this.#outcomes.set(outcome, bytes);
    }
    return bytes;
  }

  #attribute(key: string, value: AttributeValue): void {
    if (typeof value === "number" && value >= 0 && value < 2 ** 28 && Number.isInteger(value)) {
      this.#number(key, value);
      return;
    }
    if (typeof value !== "string") {
      this.#raw(encodeAttribute(key, value));
      return;
    }
    const name = this.#key(key);
    const length = this.#size(value);
    const any = 1 + varintLength(length) + length;
    const total = name.length + varintLength(any) + any;
    this.#need(total + 16);
    this.#byte(0x4a);
    this.#varint(total);
    this.#raw(name);
    this.#varint(any);
    this.#byte(0x0a);
    this.#text(value, length);
  }

  /** An attribute with a status, a port, a count: most that are no text. */
  #number(key: string, value: number): void {
    const name = this.#key(key);
    const length = varintLength(value);
    const total = name.length + 2 + length;
    this.#need(total + 16);
    this.#byte(0x4a);
    this.#varint(total);
    this.#raw(name);
    this.#byte(1 + length);
    this.#byte(0x18);
    this.#varint(value);
  }

  /** Its key and the tag of its value. */
  #key(key: string): Uint8Array {
    let name = this.#keys.get(key);
    if (name === undefined) {
      name = Buffer.concat([encodedKey(key), Buffer.of(0x12)]);
      if (this.#keys.size < MAX_CACHED) this.#keys.set(key, name);
    }
    return name;
  }

  #string(tag: number, value: string): void {
    const length = this.#size(value);
    this.#need(length + 8);
    this.#byte(tag);
    this.#text(value, length);
  }

  /** Bytes of UTF-8; a loop is faster than a call into C++ for the short texts that records are made of. */
  #size(value: string): number {
    if (value.length > SHORT) return Buffer.byteLength(value);
    for (let i = 0; i < value.length; i++) if (value.charCodeAt(i) > 0x7f) return Buffer.byteLength(value);
    return value.length;
  }

  /** Length and bytes of a text whose room is there. */
  #text(value: string, length: number): void {
    this.#varint(length);
    if (length > SHORT || length !== value.length) {
      this.#at += this.#buffer.write(value, this.#at);
      return;
    }
    const buffer = this.#buffer;
    let at = this.#at;
    for (let i = 0; i < length; i++) buffer[at++] = value.charCodeAt(i);
    this.#at = at;
  }

  /** A fixed64 of nanoseconds, from microseconds, without BigInt. */
  #time(tag: number, micros: number): void {
    const low = (micros % 2 ** 32) * 1000;
    this.#byte(tag);
    this.#at = this.#buffer.writeUInt32LE(low % 2 ** 32, this.#at);
    this.#at = this.#buffer.writeUInt32LE(Math.floor(micros / 2 ** 32) * 1000 + Math.floor(low / 2 ** 32), this.#at);
  }

  #byte(value: number): void {
    this.#buffer[this.#at++] = value;
  }

  #varint(value: number): void {
    let rest = value;
    while (rest > 0x7f) {
      this.#buffer[this.#at++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.#buffer[this.#at++] = rest;
  }

  #raw(bytes: Uint8Array): void {
    this.#need(bytes.length);
    this.#buffer.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  #need(count: number): void {
    const wanted = this.#at + count;
    if (wanted <= this.#buffer.length) return;
    const wider = Buffer.allocUnsafe(Math.max(wanted, this.#buffer.length * 2));
    this.#buffer.copy(wider, 0, 0, this.#at);
    this.#buffer = wider;
  }
}

function kindOf(event: string): number {
  return CLIENT_EVENTS.has(event) ? SPAN_KIND_CLIENT : SPAN_KIND_INTERNAL;
}

/** Bounded, and free of credentials, should a driver have let them through. */
function targetId(target: Target): string {
  return bound(target.type === "file" ? target.id : redactCredentials(target.id), MAX_TARGET_ID);
}

/** KeyValue.key. */
function encodedKey(key: string): Buffer {
  const text = Buffer.from(key);
  return Buffer.concat([Buffer.of(0x0a), varint(text.length), text]);
}

function varintLength(value: number): number {
  return value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x200000 ? 3 : value < 0x10000000 ? 4 : 5;
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 0x7f; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  return Buffer.from([...bytes, rest]);
}
