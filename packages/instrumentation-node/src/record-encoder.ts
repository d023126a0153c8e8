import type { AttributeValue } from "@otel-audit/otlp/encoding";
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
import { encodedKey, SpanWriter } from "./span-writer.ts";
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
  readonly #out = new SpanWriter();
  #headLength = 0;
  readonly #actors = new WeakMap<Actor, Uint8Array>();
  readonly #verdicts = new Map<string, { verdict: Verdict; bytes: Uint8Array }[]>();
  readonly #kinds = new Map<string, Map<AuditAction, Uint8Array>>();
  readonly #outcomes = new Map<AuditOutcome, Uint8Array>();

  /** Where what was encoded last stands, from its beginning. */
  get bytes(): Buffer {
    return this.#out.bytes;
  }

  /** How much was encoded last. */
  get length(): number {
    return this.#out.length;
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
    this.#out.need(length);
    this.#out.bytes[ROOM_AT] = 1;
    this.#out.bytes.fill(0, this.#out.length, this.#out.length + length - 1);
    this.#out.length += length;
    this.#out.bytes[this.#out.length - 1] = length;
  }

  /** Encodes a record and how it ended. */
  whole(record: Begun, end: Ended, endMicros: number): void {
    this.#head(record);
    this.#tail(record, end, endMicros);
  }

  /** Encodes how a record ended. */
  tail(opened: Opened, end: Ended, endMicros: number): void {
    this.#out.length = 0;
    this.#tail(opened, end, endMicros);
  }

  #head(record: Begun): void {
    const { parent, sequence } = record;
    this.#out.bytes.writeUIntLE(sequence, 0, 6);
    this.#out.bytes.writeUInt16LE(0, 6);
    this.#out.length = SEQUENCE_BYTES;
    this.#ids(parent);
    this.#out.need(64);
    this.#out.time(0x39, record.startMicros);
    this.#out.attribute(ATTR_AUDIT_RECORD_ID, record.recordId);
    this.#out.integer(SEQUENCE_KEY, sequence);
    if (record.supersedes !== undefined) this.#out.attribute(ATTR_AUDIT_RECORD_SUPERSEDES, record.supersedes);
    if (record.cause !== undefined) this.#out.attribute(ATTR_AUDIT_CAUSE_RECORD_ID, record.cause);
    if (record.tool !== undefined) {
      this.#out.attribute(ATTR_GEN_AI_TOOL_NAME, record.tool.name);
      if (record.tool.callId !== undefined) this.#out.attribute(ATTR_GEN_AI_TOOL_CALL_ID, record.tool.callId);
    }
    this.#common(record);
    this.#headLength = this.#out.length;
  }

  /** What is the same for every record of one action object, by one actor and with one verdict. */
  #common(record: Begun): void {
    const { event, action, actor, verdict, memo } = record;
    if (memo?.encoded !== undefined && memo.encodedVerdict === verdict && memo.encodedActor === actor) {
      this.#out.raw(memo.encoded);
      return;
    }
    const start = this.#out.length;
    this.#out.raw(CONSTANT);
    this.#out.string(0x2a, bound(record.name ?? event, MAX_NAME));
    this.#out.need(64);
    this.#out.byte(0x30);
    this.#out.byte(record.side === undefined ? kindOf(event) : SPAN_KIND_SERVER);
    this.#out.raw(this.#kind(event, action));
    this.#targets(record.targets, action === AUDIT_ACTION_VALUE_READ ? "read" : "write");
    this.#attributes(record.attributes, undefined);
    this.#out.raw(this.#actor(actor));
    this.#out.raw(this.#verdict(verdict));
    if (memo === undefined) return;
    memo.encoded = Uint8Array.from(this.#out.bytes.subarray(start, this.#out.length));
    memo.encodedVerdict = verdict;
    memo.encodedActor = actor;
  }

  #tail(record: Opened, end: Ended, endMicros: number): void {
    this.#out.need(64);
    this.#out.time(0x41, Math.max(endMicros, record.startMicros));
    this.#out.raw(this.#outcome(end.outcome));
    if (end.errorType !== undefined) this.#out.attribute(ATTR_ERROR_TYPE, bound(end.errorType, MAX_ERROR_TYPE));
    this.#attributes(end.attributes, record.attributes);
    if (end.outcome === "failure") this.#out.raw(STATUS_ERROR);
  }

  /** @param written attributes that stand there already: of a repeated key only the first counts */
  #attributes(attributes: Attributes | undefined, written: Attributes | undefined): void {
    if (attributes === undefined) return;
    for (const key in attributes) {
      const value = attributes[key];
      if (value === undefined || (written !== undefined && Object.hasOwn(written, key))) continue;
      const most = key === ATTR_AUDIT_POLICY_DOCUMENT ? MAX_DOCUMENT : MAX_VALUE;
      this.#out.attribute(key, typeof value === "string" ? bound(value, most) : value);
    }
  }

  #ids(parent: ActiveSpan | undefined): void {
    this.#out.need(48);
    this.#out.byte(0x0a);
    this.#out.byte(16);
    if (parent === undefined) randomInto(this.#out.bytes, this.#out.length, 16);
    else this.#out.bytes.write(parent.traceId, this.#out.length, "hex");
    this.#out.length += 16;
    this.#out.byte(0x12);
    this.#out.byte(8);
    randomInto(this.#out.bytes, this.#out.length, 8);
    this.#out.length += 8;
    if (parent === undefined) return;
    this.#out.byte(0x22);
    this.#out.byte(8);
    this.#out.bytes.write(parent.spanId, this.#out.length, "hex");
    this.#out.length += 8;
    const state = parent.traceState?.serialize();
    if (typeof state === "string" && state !== "") this.#out.string(0x1a, bound(state, 512));
  }

  /** @param usual the side of what does not say on which it is: a proxy, what a symbolic link leads to */
  #targets(targets: readonly Target[], usual: "read" | "write"): void {
    const main = targets[0];
    if (main === undefined) return;
    this.#out.attribute(ATTR_AUDIT_TARGET_TYPE, main.type);
    this.#out.attribute(ATTR_AUDIT_TARGET_ID, targetId(main));
    if (targets.length < 2) return;
    const read = targets.filter(({ access = usual }) => access === "read").map(targetId);
    const write = targets.filter(({ access = usual }) => access === "write").map(targetId);
    if (read.length > 0) this.#out.attribute(ATTR_AUDIT_TARGET_READ_IDS, [...new Set(read)].slice(0, MAX_TARGETS));
    if (write.length > 0) this.#out.attribute(ATTR_AUDIT_TARGET_WRITE_IDS, [...new Set(write)].slice(0, MAX_TARGETS));
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
    // A policy that is loaded again and again has new ones.
    if (known.length === 16) known.shift();
    known.push({ verdict, bytes });
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
}

function kindOf(event: string): number {
  return CLIENT_EVENTS.has(event) ? SPAN_KIND_CLIENT : SPAN_KIND_INTERNAL;
}

/** Bounded, and free of credentials, should a driver have let them through. */
function targetId(target: Target): string {
  return bound(target.type === "file" ? target.id : redactCredentials(target.id), MAX_TARGET_ID);
}
