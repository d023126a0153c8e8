import { type FrameDamage, FrameKind, type FrameScan } from "@otel-audit/ledger/frames";

import { ROOM_AT, SEQUENCE_BYTES } from "../record-encoder.ts";

/** The frames of a spool file. A file has many thousands: they are asked for by index, and no object is made of each. */
export class SpoolContents {
  readonly #scan: FrameScan;
  /** Intents that are sent as records, because their actions never ended. */
  readonly #orphans: ReadonlySet<number>;

  constructor(scan: FrameScan, orphans: ReadonlySet<number> = new Set()) {
    this.#scan = scan;
    this.#orphans = orphans;
  }

  get count(): number {
    return this.#scan.count;
  }

  get damage(): readonly FrameDamage[] {
    return this.#scan.damage;
  }

  /** The number of the record that a frame is about; 0 for a frame that is none of a spool. */
  sequence(index: number): number {
    const { bytes, payloadStart, payloadEnd } = this.#scan;
    const start = payloadStart[index]!;
    return payloadEnd[index]! - start < SEQUENCE_BYTES ? 0 : bytes.readUIntLE(start, 6);
  }

  isIntent(index: number): boolean {
    return this.#scan.kind[index] === FrameKind.Intent;
  }

  /** Whether a frame tells that its action has ended. */
  isEnd(index: number): boolean {
    const kind = this.#scan.kind[index];
    return (kind === FrameKind.Data || kind === FrameKind.Completed) && this.sequence(index) !== 0;
  }

  /** The whole payload. */
  payload(index: number): Uint8Array {
    return this.#scan.bytes.subarray(this.#scan.payloadStart[index], this.#scan.payloadEnd[index]);
  }

  /** The Span message that is to be sent; undefined for a frame that is not. */
  span(index: number): Uint8Array | undefined {
    const { bytes, payloadStart, payloadEnd } = this.#scan;
    const start = payloadStart[index]! + SEQUENCE_BYTES;
    const end = payloadEnd[index]! - this.#room(index);
    // An end without a span went out already.
    if (start >= end || !(this.isEnd(index) || this.#orphans.has(index))) return undefined;
    return bytes.subarray(start, end);
  }

  /** What is left of the room that an intent had for its end, in bytes; none in an outcome of its own. */
  #room(index: number): number {
    const { bytes, kind, payloadStart, payloadEnd } = this.#scan;
    if (kind[index] !== FrameKind.Intent && kind[index] !== FrameKind.Completed) return 0;
    return bytes[payloadStart[index]! + ROOM_AT] === 1 ? bytes[payloadEnd[index]! - 1]! : 0;
  }

  /** The same file as the record of a process that died. */
  withOrphans(orphans: ReadonlySet<number>): SpoolContents {
    return new SpoolContents(this.#scan, orphans);
  }
}

/** A frame that says nothing but that its record ended and went out. */
export function endedFrame(sequence: number): Uint8Array {
  const frame = Buffer.alloc(SEQUENCE_BYTES);
  frame.writeUIntLE(sequence, 0, 6);
  return frame;
}
