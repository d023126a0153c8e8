import { parentPort } from "node:worker_threads";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { COLUMNS, LedgerError, readSegment, ROW_FORMAT } from "@otel-audit/ledger";
import type { Compression } from "./http.ts";
import { ClickHouseError } from "./errors.ts";
import type { ClickHouseErrorCode } from "./errors.ts";
import { auditOrder } from "./native/audit-order.ts";
import { transposeToNative } from "./native/transpose.ts";
import type { TransposeJob, TransposeReply } from "./transposer.ts";

const port = parentPort;
if (port === null) throw new ClickHouseError("WORKER", "transpose-worker runs in a worker thread only");

port.on("message", (job: TransposeJob) => {
  void run(job).then((reply) => port.postMessage(reply, reply.ok ? [reply.block.buffer] : []));
});

async function run(job: TransposeJob): Promise<TransposeReply> {
  try {
    const block = compress(await transpose(job), job.compression);
    return { id: job.id, ok: true, block };
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

async function transpose(job: TransposeJob): Promise<Uint8Array<ArrayBuffer>> {
  if (job.kind === "rows") return transposeToNative(job.rows, job.offsets, job.columns);
  const { segment, rows, offsets } = await readSegment(job.path);
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
  return transposeToNative(rows, offsets, COLUMNS, auditOrder(rows, offsets));
}

function compress(block: Uint8Array<ArrayBuffer>, compression: Compression): Uint8Array<ArrayBuffer> {
  if (compression === "none") return block;
  // Level 1: what stays of it in the table is compressed again by the column codecs.
  const packed = compression === "zstd" ? zstdCompressSync(block) : gzipSync(block, { level: 1 });
  return Uint8Array.from(packed);
}
