import { createHash } from "node:crypto";
import { PREFIX_AUDIT_RAW, PREFIX_AUDIT_TRUNCATED } from "@otel-audit/semantic-conventions";
import { EntryTable } from "./entry-table.ts";
import { LIMITS, RowFlag } from "./row-format.ts";
import { KIND_NAMES } from "./value-text.ts";

/**
 * How much of a record is kept (rule E8). A record that is too large at one stage is encoded again at the next:
 * 0 all within the limits; 1 short values, no events and links; 2 typed columns only, no attribute maps.
 */
export type Stage = 0 | 1 | 2;

/** What is remembered beside the values while a part of a record is encoded: types, hashes of what was cut, flags. */
export class RecordNotes {
  /** Entries of `AttributeTypes`. */
  readonly types = new EntryTable();
  /** Entries that the collector adds to `SpanAttributes`. */
  readonly extras = new EntryTable();
  flags = 0;
  stage: Stage = 0;
  /** Too large for this stage. */
  overflow = false;

  reset(stage: Stage): void {
    this.overflow = false;
    this.types.clear();
    this.extras.clear();
    this.flags = stage === 0 ? 0 : RowFlag.RecordReduced;
    this.stage = stage;
  }

  /** Takes over the notes of a part that was encoded earlier (a resource for all its spans). */
  include(part: RecordNotes): void {
    if (part.types.count > 0) this.types.addAll(part.types);
    if (part.extras.count > 0) this.extras.addAll(part.extras);
    this.flags |= part.flags;
    this.overflow ||= part.overflow;
  }

  get valueLimit(): number {
    return this.stage === 0 ? LIMITS.value : LIMITS.reducedValue;
  }

  /** Limit of names and messages, which have no attribute. */
  get textLimit(): number {
    return this.stage === 0 ? LIMITS.value : LIMITS.column;
  }

  /** The value of `qualifier + key` is of this kind. */
  noteType(qualifier: string, bytes: Uint8Array, keyStart: number, keyEnd: number, kind: number): void {
    this.#addType(qualifier, bytes, keyStart, keyEnd, KIND_NAMES[kind] ?? "absent");
  }

  /** A typed column's attribute was sent, as an empty string or array. */
  noteEmpty(bytes: Uint8Array, keyStart: number, keyEnd: number): void {
    this.#addType("", bytes, keyStart, keyEnd, "empty");
  }

  /** The value of `qualifier + key` was cut; [start, end) is the whole of it. */
  noteCut(
    qualifier: string,
    keys: Uint8Array,
    keyStart: number,
    keyEnd: number,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): void {
    this.flags |= RowFlag.ValueTruncated;
    // A reduced record has the hash of the whole span instead.
    if (this.stage > 0) return;
    const own = this.extras.own;
    const at = own.length;
    own.ascii(PREFIX_AUDIT_TRUNCATED);
    own.ascii(qualifier);
    own.copy(keys, keyStart, keyEnd);
    this.#addDigest(at, bytes, start, end);
  }

  /** Parts of a whole message were left out. `what` is `span`, `resource` or `scope`. */
  noteWhole(what: string, bytes: Uint8Array, start: number, end: number): void {
    const own = this.extras.own;
    const at = own.length;
    own.ascii(`${PREFIX_AUDIT_TRUNCATED}record:${what}`);
    this.#addDigest(at, bytes, start, end);
  }

  /** A value did not fit its column. */
  noteRaw(name: string, value: bigint): void {
    const own = this.extras.own;
    const at = own.length;
    own.ascii(PREFIX_AUDIT_RAW + name);
    const valueStart = own.length;
    own.ascii(String(value));
    this.extras.addOwn(at, valueStart);
  }

  #addType(qualifier: string, bytes: Uint8Array, keyStart: number, keyEnd: number, word: string): void {
    const own = this.types.own;
    const at = own.length;
    own.ascii(qualifier);
    own.copy(bytes, keyStart, keyEnd);
    const valueStart = own.length;
    own.ascii(word);
    this.types.addOwn(at, valueStart);
  }

  #addDigest(keyStart: number, bytes: Uint8Array, start: number, end: number): void {
    const own = this.extras.own;
    const valueStart = own.length;
    const digest = createHash("sha256").update(bytes.subarray(start, end)).digest("hex");
    own.ascii(`sha256:${digest}:${end - start}`);
    this.extras.addOwn(keyStart, valueStart);
  }
}
