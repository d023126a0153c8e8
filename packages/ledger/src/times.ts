import type { RecordNotes } from "./record-notes.ts";
import { RowFlag } from "./row-format.ts";

const MAX_INT64 = 0x7fff_ffff_ffff_ffffn;

/** A time that fits into Int64 (rule E7); what does not is clamped, flagged and kept as `audit.raw.<name>`. */
export function clampTime(notes: RecordNotes, name: string, time: bigint): bigint {
  if (time <= MAX_INT64) return time;
  notes.flags |= RowFlag.TimeClamped;
  notes.noteRaw(name, time);
  return MAX_INT64;
}
