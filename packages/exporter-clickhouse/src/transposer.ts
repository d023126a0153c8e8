import { Worker } from "node:worker_threads";
import { ClickHouseError } from "./errors.ts";
import type { ClickHouseErrorCode } from "./errors.ts";
import type { Compression } from "./http.ts";
import type { ColumnType } from "./native/types.ts";

/** A message to the worker: a job, or the memory of an earlier one's block. */
export type TransposeMessage = TransposeJob | { readonly kind: "reuse"; readonly block: Uint8Array<ArrayBuffer> };

export type TransposeJob = { readonly id: number; readonly compression: Compression } & (
  | { readonly kind: "segment"; readonly path: string; readonly count: number; readonly hash: string }
  | {
      readonly kind: "rows";
      readonly rows: Uint8Array;
      readonly offsets: Uint32Array;
      readonly columns: readonly ColumnType[];
    }
);

/** A message from the worker. */
export type TransposeReply =
  | { readonly id: number; readonly ok: true; readonly block: Uint8Array<ArrayBuffer> }
  | { readonly id: number; readonly ok: false; readonly code: ClickHouseErrorCode; readonly message: string };

interface Pending {
  resolve(block: Uint8Array<ArrayBuffer>): void;
  reject(error: ClickHouseError): void;
}

type WithoutId<T> = T extends unknown ? Omit<T, "id"> : never;

/**
 * One worker thread that reads, checks, transposes and compresses, so that the thread which takes in spans never stands
 * still for a 64 MiB segment. Started with the first job, shared by all writers of the thread that started it, and not a
 * reason for the process to stay alive.
 */
export class Transposer {
  static #shared: Transposer | undefined;
  static #users = 0;

  readonly #pending = new Map<number, Pending>();
  #worker: Worker | undefined;
  #nextId = 1;

  /** The process's transposer; give it back with `release`. */
  static acquire(): Transposer {
    Transposer.#users++;
    return (Transposer.#shared ??= new Transposer());
  }

  static async release(): Promise<void> {
    if (--Transposer.#users > 0) return;
    const last = Transposer.#shared;
    Transposer.#shared = undefined;
    if (last !== undefined) await last.#stop();
  }

  /** A segment's file as one Native block of the audit table. */
  async segment(path: string, count: number, hash: string, compression: Compression): Promise<Uint8Array<ArrayBuffer>> {
    return await this.#run({ kind: "segment", path, count, hash, compression }, []);
  }

  /** Takes the memory of a segment's block for a later one. Nothing may read it any more, no socket either. */
  reuse(block: Uint8Array<ArrayBuffer>): void {
    this.#post({ kind: "reuse", block }, [block.buffer]);
  }

  /** RowBinary rows as one Native block. Takes the rows' memory over. */
  async rows(
    rows: Uint8Array<ArrayBuffer>,
    offsets: Uint32Array<ArrayBuffer>,
    columns: readonly ColumnType[],
    compression: Compression,
  ): Promise<Uint8Array<ArrayBuffer>> {
    return await this.#run({ kind: "rows", rows, offsets, columns, compression }, [rows.buffer, offsets.buffer]);
  }

  async #run(job: WithoutId<TransposeJob>, transfer: ArrayBuffer[]): Promise<Uint8Array<ArrayBuffer>> {
    const worker = (this.#worker ??= this.#start());
    const id = this.#nextId++;
    return await new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      worker.ref();
      this.#post({ ...job, id }, transfer);
    });
  }

  #post(message: TransposeMessage, transfer: ArrayBuffer[]): void {
    this.#worker?.postMessage(message, transfer);
  }

  #start(): Worker {
    const file = import.meta.url.endsWith(".ts") ? "./transpose-worker.ts" : "./transpose-worker.js";
    const worker = new Worker(new URL(file, import.meta.url), { name: "otel-audit-transpose" });
    worker.unref();
    worker.on("message", (reply: TransposeReply) => this.#settle(worker, reply));
    worker.on("error", (cause) =>
      this.#fail(worker, new ClickHouseError("WORKER", `transposing failed: ${cause}`, { cause })),
    );
    worker.on("exit", () => this.#fail(worker, new ClickHouseError("WORKER", "the transposing thread ended")));
    return worker;
  }

  #settle(worker: Worker, reply: TransposeReply): void {
    const pending = this.#pending.get(reply.id);
    this.#pending.delete(reply.id);
    if (this.#pending.size === 0) worker.unref();
    if (reply.ok) pending?.resolve(reply.block);
    else pending?.reject(new ClickHouseError(reply.code, reply.message));
  }

  #fail(worker: Worker, error: ClickHouseError): void {
    if (this.#worker !== worker) return;
    this.#worker = undefined;
    for (const pending of this.#pending.values()) pending.reject(error);
    this.#pending.clear();
  }

  async #stop(): Promise<void> {
    const worker = this.#worker;
    if (worker === undefined) return;
    await worker.terminate();
    this.#fail(worker, new ClickHouseError("CLOSED", "the writer was closed"));
  }
}
