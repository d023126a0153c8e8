import { SPAN_MALFORMED, type SpanIndex } from "@otel-audit/otlp";
import { ByteBuffer } from "./byte-buffer.ts";
import { RowEncoder, addRowFlag } from "./row-encoder.ts";
import { ROW_OFFSET, RowFlag } from "./row-format.ts";
import type { RowBlock } from "./segment-writer.ts";
import type { CollectorFacts } from "./types.ts";
import { type InFlight, type RecordWindow, Seen } from "./window.ts";

const FIRST_BYTES = 64 * 1024;
/** Rows of fewer bytes are copied for the log; with more of them it gets the buffer. */
const COPY_BELOW = 32 * 1024;
/** So much memory is kept for later appends. */
const KEEP_BYTES = 8 * 1024 * 1024;

/** What became of the spans of one append, before anything is on disk. */
export interface Encoded {
  /** Row `i` stands from `offsets[i]` to `offsets[i + 1]`. */
  readonly offsets: number[];
  duplicates: number;
  conflicts: number;
  /** The first copy of a duplicate is not synced yet by this stream. */
  waits: boolean;
  /** First copies of duplicates that other threads have not synced yet. */
  readonly elsewhere: InFlight[];
  readonly rejected: { span: number; reason: string }[];
}

/** The rows of one append at a time: encodes them, and drops those that the window knows. */
export class RowBatch {
  rows = new ByteBuffer(FIRST_BYTES);
  /** Buffers that the log is done with, and their size. */
  readonly #spare: ByteBuffer[] = [];
  #spareBytes = 0;
  readonly #encoder = new RowEncoder();
  readonly #window: RecordWindow;
  readonly #writer: number;

  /** @param writer which writer of the window this is */
  constructor(window: RecordWindow, writer: number) {
    this.#window = window;
    this.#writer = writer;
  }

  /** Encodes the spans from `from` to before `to` into `rows`, and stages the key of each row. */
  encode(index: SpanIndex, mask: number, facts: CollectorFacts, from: number, to: number): Encoded {
    this.#window.unstage();
    const result: Encoded = { offsets: [0], duplicates: 0, conflicts: 0, waits: false, elsewhere: [], rejected: [] };
    const rows = this.rows;
    const encoder = this.#encoder;
    encoder.begin(facts);
    for (let span = from; span < to; span++) {
      const flags = index.flags[span]!;
      if ((flags & mask) === 0 || (flags & SPAN_MALFORMED) !== 0) continue;
      const start = rows.length;
      let refused: string | undefined;
      try {
        refused = encoder.encode(rows, index, span);
      } catch (error) {
        refused = error instanceof Error ? error.message : String(error);
      }
      if (refused !== undefined) {
        // Whatever is wrong with one span, the others of its request are not refused for it.
        result.rejected.push({ span, reason: refused });
        continue;
      }
      const { principal, recordIdStart, recordIdEnd } = encoder;
      this.#window.stage(principal, rows.bytes, recordIdStart, recordIdEnd, rows.bytes, start + ROW_OFFSET.contentHash);
      result.offsets.push(rows.length);
    }
    return result;
  }

  /** Drops the rows of duplicates and marks those of conflicts, as the window has just said. */
  keepNew(encoded: Encoded): void {
    const { bytes } = this.rows;
    const { offsets } = encoded;
    const { seen, waitsFor } = this.#window;
    const count = offsets.length - 1;
    let kept = 0;
    let length = 0;
    for (let i = 0, start = 0, end: number; i < count; i++, start = end) {
      end = offsets[i + 1]!;
      if (seen[i] === Seen.Duplicate) {
        encoded.duplicates++;
        if (waitsFor[i] === this.#writer) encoded.waits = true;
        else if (waitsFor[i] !== -1) encoded.elsewhere.push(this.#window.inFlight(i));
        continue;
      }
      if (seen[i] === Seen.Conflict) {
        encoded.conflicts++;
        addRowFlag(bytes, start, RowFlag.Conflict);
      }
      if (length !== start) bytes.copyWithin(length, start, end);
      length += end - start;
      offsets[++kept] = length;
    }
    offsets.length = kept + 1;
    this.rows.length = length;
  }

  /**
   * The rows as a block of their own. `done` is to be called when nobody reads it any more: new memory for each append
   * would cost more than all other copies of the rows.
   */
  take(encoded: Encoded): { block: RowBlock; done: () => void } {
    const { rows } = this;
    const offsets = new Uint32Array(encoded.offsets);
    const bytes = rows.bytes.subarray(0, rows.length);
    if (rows.length < COPY_BELOW) return { block: { bytes: new Uint8Array(bytes), offsets }, done: () => undefined };
    const spare = this.#spare.pop();
    this.#spareBytes -= spare?.bytes.length ?? 0;
    this.rows = spare ?? new ByteBuffer(FIRST_BYTES);
    return { block: { bytes, offsets }, done: () => this.#keep(rows) };
  }

  /** The rows are not needed any more. */
  release(): void {
    if (this.rows.bytes.length > KEEP_BYTES) this.rows = new ByteBuffer(FIRST_BYTES);
    this.rows.clear();
  }

  #keep(rows: ByteBuffer): void {
    if (this.#spareBytes + rows.bytes.length > KEEP_BYTES) return;
    rows.clear();
    this.#spare.push(rows);
    this.#spareBytes += rows.bytes.length;
  }
}
