import { type FrameDamage, FrameKind, scanFrames } from "@otel-audit/ledger/frames";

import { SEQUENCE_BYTES } from "../record-encoder.ts";

/** A frame of a spool: the number of its record, and the frame's whole payload. */
export interface Numbered {
  readonly sequence: number;
  readonly payload: Uint8Array;
}

/** What a spool file holds. */
export interface SpoolContents {
  /** Records to be sent; the last frame of a record that begins in this file or an earlier one. */
  readonly records: readonly Numbered[];
  /** Numbers of records that ended: those of `records`, and of others that went out already. */
  readonly ended: readonly number[];
  readonly intents: readonly Numbered[];
  readonly damage: readonly FrameDamage[];
}

/** Sorts the frames of a spool file. Never throws for damaged bytes. */
export function readContents(file: Uint8Array): SpoolContents {
  const scan = scanFrames(file);
  const records: Numbered[] = [];
  const ended: number[] = [];
  const intents: Numbered[] = [];
  for (let i = 0; i < scan.count; i++) {
    const payload = scan.bytes.subarray(scan.payloadStart[i], scan.payloadEnd[i]);
    const kind = scan.kind[i];
    if (payload.length < SEQUENCE_BYTES) continue;
    const sequence = payload.readUIntLE(0, 6);
    if (kind === FrameKind.Intent) intents.push({ sequence, payload });
    else if (kind === FrameKind.Data) {
      ended.push(sequence);
      if (payload.length > SEQUENCE_BYTES) records.push({ sequence, payload });
    }
  }
  return { records, ended, intents, damage: scan.damage };
}

/** The Span message of a frame. */
export function spanOf({ payload }: Numbered): Uint8Array {
  return payload.subarray(SEQUENCE_BYTES);
}

/** A frame that says nothing but that its record ended and went out. */
export function endedFrame(sequence: number): Uint8Array {
  const frame = Buffer.alloc(SEQUENCE_BYTES);
  frame.writeUIntLE(sequence, 0, 6);
  return frame;
}
