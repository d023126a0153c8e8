// The frame log alone, for the spool of a process that is audited: the rest of the ledger would cost its start 20 ms.
export { createFileHeader, FRAME_HEADER_BYTES, FrameKind, writeFrameHeader } from "./frame.ts";
export { FrameWriter } from "./frame-writer.ts";
export {
  type FrameDamage,
  type FrameScan,
  readFrames,
  readFramesSync,
  scanFrames,
  walkFrames,
} from "./frame-reader.ts";
