import { hash } from "node:crypto";
import { SpanFields, type SpanIndex, readSpan } from "@otel-audit/otlp";
import { AUDIT_RECORD_ORIGIN_VALUE_EFFECT, AUDIT_RECORD_ORIGIN_VALUE_REPORTED } from "@otel-audit/semantic-conventions";
import { TypedIndex, fillSpanMap } from "./attribute-map.ts";
import { ByteBuffer, cutAt, viewOf } from "./byte-buffer.ts";
import { EntryTable } from "./entry-table.ts";
import { Identities } from "./identity.ts";
import { judge } from "./judged-event.ts";
import { writeEvents, writeId, writeLinks, writeText } from "./nested-columns.ts";
import { RecordNotes, type Stage } from "./record-notes.ts";
import { ResourcePart, ScopePart } from "./request-parts.ts";
import { LIMITS, ROW_FORMAT, ROW_OFFSET, RowFlag, TYPED_COLUMNS } from "./row-format.ts";
import { clampTime } from "./times.ts";
import { TypedColumns } from "./typed-columns.ts";
import type { CollectorFacts, CollectorVerdict } from "./types.ts";
import { isOfVocabulary } from "./vocabulary.ts";

const SPAN_KINDS = ["Unspecified", "Internal", "Server", "Client", "Producer", "Consumer"];
const STATUS_CODES = ["Unset", "Ok", "Error"];
const RECORD_ID = TypedColumns.find("RecordId");
const ACTOR_ID = TypedColumns.find("ActorId");
const ORIGIN = TypedColumns.find("Origin");
/** Typed columns after which the collector's own columns stand. */
const LAST_BEFORE_PRINCIPAL = TypedColumns.find("CredentialId");
const LAST_BEFORE_VERDICT = TypedColumns.find("PolicyReason");
const NO_VERDICT: CollectorVerdict = { decision: "", policyId: "", policyVersion: "", ruleId: "", reason: "" };
const encoder = new TextEncoder();
const EFFECT = encoder.encode(AUDIT_RECORD_ORIGIN_VALUE_EFFECT);

/**
 * Turns spans into rows of format 1 (rules E1 to E9). Works on bytes: strings of the producer never become JS strings,
 * except for a judge. Not reentrant; one for each thread is enough.
 */
export class RowEncoder {
  /** Where the last row's RecordId text stands in `out`. */
  recordIdStart = 0;
  recordIdEnd = 0;
  /** The principal as it is stored. */
  principal: Uint8Array = new Uint8Array(0);
  #facts!: CollectorFacts;
  /** The columns that are the same for all rows of a request. */
  readonly #principal = new ByteBuffer();
  readonly #tenant = new ByteBuffer();
  readonly #span = new SpanFields();
  readonly #resource = new ResourcePart();
  readonly #scope = new ScopePart();
  readonly #notes = new RecordNotes();
  readonly #typed = new TypedIndex();
  readonly #columns = new TypedColumns();
  readonly #map = new EntryTable();
  readonly #rest = new ByteBuffer(1024);
  readonly #idSource = Buffer.alloc(32);
  readonly #identities = new Identities();
  #provenance: CollectorFacts["provenance"] = "asserted";
  /** Attributes, events or links of the span were left out. */
  #incomplete = false;

  /** Starts a request. */
  begin(facts: CollectorFacts): void {
    this.#facts = facts;
    this.principal = limited(facts.principal);
    const tenant = limited(facts.tenantId);
    this.#principal.clear();
    this.#principal.string(this.principal, 0, this.principal.length);
    this.#tenant.clear();
    this.#tenant.string(tenant, 0, tenant.length);
    this.#resource.forget();
    this.#scope.forget();
  }

  /**
   * Appends the row of a span to `out`. StreamId, Sequence and ReceivedAt are zero until `placeRows`. Throws OtlpError
   * when the span's bytes are broken, and leaves `out` as it was then; so it does when the sender may not say this, and
   * returns why.
   */
  encode(out: ByteBuffer, index: SpanIndex, span: number): string | undefined {
    const rowStart = out.length;
    const { bytes } = index;
    const start = index.start[span]!;
    const end = index.end[span]!;
    try {
      readSpan(bytes, start, end, this.#span);
      const digest = hash("sha256", bytes.subarray(start, end), "binary");
      let verdict: CollectorVerdict | undefined;
      for (const stage of [0, 1, 2] as const) {
        out.length = rowStart;
        this.#prepare(index, span, stage);
        // Identified and judged once, on the whole of it; a reduced record keeps that verdict.
        if (stage === 0) {
          const refused = this.#identify(bytes);
          if (refused !== undefined) return refused;
          verdict = judge(this.#columns, this.#facts, bytes, this.#span.attributes);
        }
        this.#write(out, index, digest, verdict ?? NO_VERDICT);
        if (!this.#notes.overflow && out.length - rowStart <= LIMITS.record) break;
      }
      return undefined;
    } catch (error) {
      out.length = rowStart;
      throw error;
    }
  }

  /** Sets the provenance of the span. Returns why the sender may not say this, if so. */
  #identify(bytes: Uint8Array): string | undefined {
    const { provenance, identify } = this.#facts;
    this.#provenance = provenance;
    if (identify !== undefined) {
      const answer = this.#identities.of(identify, this.#columns);
      if (answer.refused !== undefined) return answer.refused;
      const isVerified =
        answer.provenance === "verified" && !this.#identities.isClaimed(this.#columns, bytes, this.#span.attributes);
      this.#provenance = isVerified ? "verified" : "asserted";
    }
    if (this.#provenance === "asserted" && this.#columns.isEmpty(ACTOR_ID)) this.#provenance = "unattributed";
    return undefined;
  }

  /** Shared parts, and the typed columns that the rest depends on. */
  #prepare(index: SpanIndex, span: number, stage: Stage): void {
    const notes = this.#notes;
    this.#resource.load(index, index.resource[span]!, stage);
    this.#scope.load(index, index.scope[span]!, stage);
    notes.reset(stage);
    notes.include(this.#resource.notes);
    notes.include(this.#scope.notes);
    this.#map.clear();
    this.#incomplete = !fillSpanMap(this.#map, notes, index.bytes, this.#span.attributes, this.#typed);
    this.#columns.fill(notes, index.bytes, this.#span.attributes, this.#typed);
    if (!isOfVocabulary(this.#columns)) notes.flags |= RowFlag.UnknownValue;
    if (this.#columns.isEmpty(RECORD_ID)) {
      notes.flags |= RowFlag.DerivedRecordId;
      this.#columns.replace(RECORD_ID, this.#deriveRecordId(index.bytes));
    }
    this.#setOrigin();
  }

  #write(out: ByteBuffer, index: SpanIndex, digest: string, verdict: CollectorVerdict): void {
    const { bytes } = index;
    const notes = this.#notes;
    const span = this.#span;
    const rowStart = out.length;
    out.zeros(ROW_OFFSET.end);
    out.bytes.writeUInt16LE(ROW_FORMAT, rowStart + ROW_OFFSET.format);
    for (let i = 0; i < 16; i++) out.bytes[rowStart + ROW_OFFSET.contentHash + i] = digest.charCodeAt(i);
    this.#writeTime(out, "start_time_unix_nano", span.startTimeOffset);
    writeId(out, bytes, span.traceIdStart, span.traceIdEnd);
    writeId(out, bytes, span.spanIdStart, span.spanIdEnd);
    writeId(out, bytes, span.parentSpanIdStart, span.parentSpanIdEnd);
    writeText(out, notes, "column:TraceState", bytes, span.traceStateStart, span.traceStateEnd);
    writeText(out, notes, "column:SpanName", bytes, span.nameStart, span.nameEnd);
    out.asciiString(SPAN_KINDS[span.kind] ?? String(span.kind));
    out.copyFrom(this.#resource.columns);
    out.copyFrom(this.#scope.columns);
    this.#writeRest(bytes);
    if (this.#incomplete) notes.flags |= RowFlag.PartsDropped;
    if (this.#incomplete || notes.stage > 0) notes.noteWhole("span", bytes, span.start, span.end);
    this.#map.addAll(notes.extras);
    this.#map.write(out, bytes);
    out.copyFrom(this.#rest);
    this.#writeColumns(out, verdict);
    notes.types.write(out, bytes);
    out.bytes.writeUInt32LE(notes.flags, rowStart + ROW_OFFSET.flags);
  }

  /** Duration to Links, to `#rest`: what is left out of them has to be noted before SpanAttributes are written. */
  #writeRest(bytes: Uint8Array): void {
    const rest = this.#rest;
    const span = this.#span;
    const notes = this.#notes;
    rest.clear();
    this.#writeDuration(rest, bytes);
    rest.asciiString(STATUS_CODES[span.statusCode] ?? String(span.statusCode));
    writeText(rest, notes, "column:StatusMessage", bytes, span.statusMessageStart, span.statusMessageEnd);
    if (!writeEvents(rest, notes, bytes, span)) this.#incomplete = true;
    if (!writeLinks(rest, notes, bytes, span)) this.#incomplete = true;
  }

  /** RecordId to SchemaVersion. */
  #writeColumns(out: ByteBuffer, verdict: CollectorVerdict): void {
    const columns = this.#columns;
    columns.write(out, 0, RECORD_ID);
    this.recordIdEnd = out.length;
    this.recordIdStart = out.length - (columns.end[RECORD_ID]! - columns.start[RECORD_ID]!);
    columns.write(out, RECORD_ID + 1, LAST_BEFORE_PRINCIPAL);
    out.copyFrom(this.#principal);
    out.asciiString(this.#provenance);
    out.copyFrom(this.#tenant);
    columns.write(out, LAST_BEFORE_PRINCIPAL + 1, LAST_BEFORE_VERDICT);
    writeOwnText(out, verdict.decision);
    writeOwnText(out, verdict.policyId);
    writeOwnText(out, verdict.policyVersion);
    writeOwnText(out, verdict.ruleId);
    writeOwnText(out, verdict.reason);
    columns.write(out, LAST_BEFORE_VERDICT + 1, TYPED_COLUMNS.length - 1);
  }

  /** Forced by the collector, or the producer's `effect`; everything else is `reported`. */
  #setOrigin(): void {
    const columns = this.#columns;
    if (this.#facts.origin === undefined && columns.is(ORIGIN, EFFECT)) return;
    const origin = this.#facts.origin ?? AUDIT_RECORD_ORIGIN_VALUE_REPORTED;
    const sent = columns.isEmpty(ORIGIN) ? "" : columns.text(ORIGIN);
    if (sent === origin) return;
    // `classified` is a collector's word.
    if (sent === "classified") this.#notes.flags |= RowFlag.CollectorAttributeStripped;
    columns.replace(ORIGIN, origin);
  }

  /** 32 hex digits of SHA-256(trace id, span id, the 8 bytes of the start as on the wire) (rule O3). */
  #deriveRecordId(bytes: Uint8Array): string {
    const span = this.#span;
    const source = this.#idSource.fill(0);
    source.set(bytes.subarray(span.traceIdStart, span.traceIdEnd), 0);
    source.set(bytes.subarray(span.spanIdStart, span.spanIdEnd), 16);
    const time = span.startTimeOffset;
    if (time !== 0) source.set(bytes.subarray(time, time + 8), 24);
    return hash("sha256", source, "hex").slice(0, 32);
  }

  #writeTime(out: ByteBuffer, name: string, offset: number): void {
    const { bytes } = this.#span;
    if (offset === 0) {
      out.uint64(0, 0);
    } else if (bytes[offset + 7]! < 0x80) {
      out.copy(bytes, offset, offset + 8);
    } else {
      const time = clampTime(this.#notes, name, this.#span.startTime);
      out.uint64(Number(time & 0xffff_ffffn), Number(time >> 32n));
    }
  }

  /** End minus start on the times as they came; 0 when that is negative, and then the end is kept raw (rule E7). */
  #writeDuration(out: ByteBuffer, bytes: Uint8Array): void {
    const span = this.#span;
    const start = span.startTimeOffset;
    const end = span.endTimeOffset;
    const startLow = start === 0 ? 0 : uint32(bytes, start);
    const startHigh = start === 0 ? 0 : uint32(bytes, start + 4);
    const endLow = end === 0 ? 0 : uint32(bytes, end);
    const endHigh = end === 0 ? 0 : uint32(bytes, end + 4);
    const negative = endHigh < startHigh || (endHigh === startHigh && endLow < startLow);
    if (negative) {
      this.#notes.flags |= RowFlag.NegativeDuration;
      this.#notes.noteRaw("end_time_unix_nano", span.endTime);
      out.uint64(0, 0);
    } else {
      if (endHigh >= 0x8000_0000) clampTime(this.#notes, "end_time_unix_nano", span.endTime);
      out.uint64(endLow - startLow, endHigh - startHigh - (endLow < startLow ? 1 : 0));
    }
  }
}

/** Where rows stand in the log. */
interface RowPlace {
  readonly stream: Uint8Array;
  /** Of the first row; each of the others has one more than the row before it. */
  readonly sequence: bigint;
  readonly receivedAt: bigint;
}

/** Gives rows their places in the log. They start at `offsets`, of which the last is the end of the last row. */
export function placeRows(bytes: Buffer, offsets: readonly number[], place: RowPlace): void {
  const { streamId, sequence, receivedAt } = ROW_OFFSET;
  const rows = viewOf(bytes);
  const stream = new DataView(place.stream.buffer, place.stream.byteOffset, place.stream.byteLength);
  const [low, high] = [stream.getBigInt64(0), stream.getBigInt64(8)];
  for (let i = 0; i < offsets.length - 1; i++) {
    const at = offsets[i]!;
    rows.setBigInt64(at + streamId, low);
    rows.setBigInt64(at + streamId + 8, high);
    rows.setBigUint64(at + sequence, place.sequence + BigInt(i), true);
    rows.setBigInt64(at + receivedAt, place.receivedAt, true);
  }
}

/** Sets a flag of an encoded row. */
export function addRowFlag(bytes: Buffer, at: number, flag: number): void {
  bytes.writeUInt32LE((bytes.readUInt32LE(at + ROW_OFFSET.flags) | flag) >>> 0, at + ROW_OFFSET.flags);
}

/** Text of the collector's own, at most 2 KiB as UTF-8. */
function writeOwnText(out: ByteBuffer, text: string): void {
  if (text === "") {
    out.byte(0);
    return;
  }
  const bytes = encoder.encode(text);
  out.string(bytes, 0, cutAt(bytes, 0, bytes.length, LIMITS.column));
}

function limited(text: string): Uint8Array {
  const bytes = encoder.encode(text);
  return bytes.subarray(0, cutAt(bytes, 0, bytes.length, LIMITS.actorId));
}

function uint32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}
