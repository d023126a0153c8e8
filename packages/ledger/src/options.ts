import { LedgerError } from "./errors.ts";
import { nodeFileIo } from "./io.ts";
import { LIMITS } from "./row-format.ts";
import type { LedgerOptions } from "./types.ts";

const MIB = 1024 * 1024;

/** Options with their defaults filled in. */
export type ResolvedOptions = Required<LedgerOptions>;

/** Throws LedgerError INVALID_ARGUMENT for what is out of range. */
export function resolveOptions(options: LedgerOptions): ResolvedOptions {
  if (options.dir === "") throw new LedgerError("INVALID_ARGUMENT", "dir is empty, must name the data directory");
  return {
    dir: options.dir,
    locked: options.locked ?? false,
    maxSegmentRows: inRange("maxSegmentRows", options.maxSegmentRows ?? 250_000, 1, 250_000),
    maxSegmentBytes: inRange("maxSegmentBytes", options.maxSegmentBytes ?? 64 * MIB, LIMITS.record, 64 * MIB),
    maxSegmentAgeMs: inRange("maxSegmentAgeMs", options.maxSegmentAgeMs ?? 1000, 1, 86_400_000),
    maxLogBytes: inRange("maxLogBytes", options.maxLogBytes ?? 8192 * MIB, 1, Number.MAX_SAFE_INTEGER),
    minFreeBytes:
      options.minFreeBytes === undefined
        ? undefined
        : inRange("minFreeBytes", options.minFreeBytes, 0, Number.MAX_SAFE_INTEGER),
    maxPendingBytes: inRange("maxPendingBytes", options.maxPendingBytes ?? 64 * MIB, 1, 1024 * MIB),
    // The window checks its own range.
    windowKeys: options.windowKeys ?? 8_000_000,
    nameOf: options.nameOf ?? ((bound) => bound),
    now: options.now ?? systemClock(),
    onSegmentClosed: options.onSegmentClosed ?? (() => undefined),
    onLowSpace: options.onLowSpace ?? (() => undefined),
    onAlarm:
      options.onAlarm ?? ((alarm) => process.emitWarning(alarm.message, { type: "LedgerAlarm", code: alarm.code })),
    io: options.io ?? nodeFileIo,
  };
}

/** Wall clock with the resolution of Date; ClickHouse's nanoseconds below that are zero. */
function systemClock(): () => bigint {
  return () => BigInt(Date.now()) * 1_000_000n;
}

function inRange(name: string, value: number, low: number, high: number): number {
  if (!Number.isSafeInteger(value) || value < low || value > high) {
    throw new LedgerError("INVALID_ARGUMENT", `${name} is ${value}, must be an integer from ${low} to ${high}`);
  }
  return value;
}
