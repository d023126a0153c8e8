import { parentPort } from "node:worker_threads";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { COLUMNS, LedgerError, ROW_FORMAT, SegmentReader } from "@otel-audit/ledger";
import type { Compression } from "./http.ts";
import { ClickHouseError } from "./errors.ts";
import type { ClickHouseErrorCode } from "./errors.ts";
import { NativeTransposer, transposeToNative } from "./native/transpose.ts";
import type { TransposeJob, TransposeMessage, TransposeReply } from "./transposer.ts";

const port = parentPort;
if (port === null) throw new ClickHouseError("WORKER", "transpose-worker runs in a worker thread only");

/** After this long without a message, memory of the last jobs is let go. */
const IDLE_MS = 10_000;

let reader = new SegmentReader();
let audit = new NativeTransposer(COLUMNS);
const idle = setTimeout(() => {
  reader = new SegmentReader();
  audit = new NativeTransposer(COLUMNS);
}, IDLE_MS).unref();

port.on("message", (message: TransposeMessage) => {
  idle.refresh();
  if (message.kind === "reuse") {
    audit.reuse(message.block);
    return;
  }
  const reply = run(message);
  port.postMessage(reply, reply.ok ? [reply.block.buffer] : []);
});

function run(job: TransposeJob): TransposeReply {
  try {
    return { id: job.id, ok: true, block: compress(transpose(job), job.compression) };
  } catch (error) {
    return {
      id: job.id,
      ok: false,
      code: codeOf(error),
      message: error instanceof Error ? error.message : String(error),
    };
  }
}

function codeOf(error: unknown): ClickHouseErrorCode {
  if (error instanceof ClickHouseError) return error.code;
  // A file that cannot be read now (too many open files, a disk that fails) may be whole.
  return error instanceof LedgerError && error.retryable ? "WORKER" : "BAD_ROWS";
}

function transpose(job: TransposeJob): Uint8Array<ArrayBuffer> {
  if (job.kind === "rows") return transposeToNative(job.rows, job.offsets, job.columns);
  const { segment, rows, offsets } = reader.read(job.path);
  if (segment.rowFormat !== ROW_FORMAT) {
    throw new ClickHouseError(
      "BAD_ROWS",
      `${job.path}: row format ${segment.rowFormat} is not known, only ${ROW_FORMAT}`,
    );
  }
  if (segment.hash !== job.hash || segment.count !== job.count) {
    throw new ClickHouseError(
      "BAD_ROWS",
      `${job.path}: ${segment.count} rows with hash ${segment.hash} on disk, ${job.count} with ${job.hash} were closed`,
    );
  }
  return audit.transpose(rows, offsets);
}

function compress(block: Uint8Array<ArrayBuffer>, compression: Compression): Uint8Array<ArrayBuffer> {
  if (compression === "none") return block;
  // Level 1: what stays of it in the table is compressed again by the column codecs.
  const packed = compression === "zstd" ? zstdCompressSync(block) : gzipSync(block, { level: 1 });
  audit.reuse(block);
  return Uint8Array.from(packed);
}
