export { Ledger } from "./ledger.ts";
export { LedgerDirectory, type LedgerShare } from "./directory.ts";
export { DirectoryLock } from "./lock.ts";
export type {
  AppendResult,
  AssertedIdentity,
  ClosedSegment,
  CollectorFacts,
  CollectorVerdict,
  IdentityAnswer,
  JudgedEvent,
  LedgerAlarm,
  LedgerBound,
  LedgerOptions,
  LedgerStats,
} from "./types.ts";
export { LedgerError, type LedgerErrorCode } from "./errors.ts";
export { readSegment, SegmentReader } from "./segment-rows.ts";
export { decodeRow, rowHash } from "./row-decode.ts";
export { COLUMNS, LIMITS, ROW_FORMAT, ROW_OFFSET, RowFlag } from "./row-format.ts";
export { RecordWindow } from "./window.ts";
export type { ShippedRow } from "./shipped-rows.ts";
export { FrameWriter } from "./frame-writer.ts";
export { type FrameDamage, readFrames, readFramesSync } from "./frame-reader.ts";
export type { FileIo } from "./io.ts";
