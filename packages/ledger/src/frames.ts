// The frame log alone, for the spool of a process that is audited: the rest of the ledger would cost its start 20 ms.
export { FrameWriter } from "./frame-writer.ts";
export { type FrameDamage, readFrames, readFramesSync } from "./frame-reader.ts";
