import { Mutex } from "./mutex.ts";
import { uuidBytes, uuidText } from "./row-decode.ts";

/** The first row of a segment that was counted in the table: while it stands there, nothing that the table had is lost. */
export interface ShippedRow {
  readonly streamId: string;
  readonly sequence: bigint;
  /** ns */
  readonly receivedAt: bigint;
}

// The memory: four words, then the rows of 32 bytes: stream, sequence, ReceivedAt; 0 there: no row.
const At = { lock: 0, bell: 1, doubted: 2 } as const;
const NEWEST = 16;
const ASKED = 48;
const END = 80;

/**
 * Which row of all streams of a process was shipped last, and which one the table is asked for. They differ: a row that
 * was shipped after the table had lost the others says nothing about it.
 */
export class ShippedRows {
  /** For other threads. */
  readonly memory: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #lock: Mutex;
  /** Of the bell, at the end of the last `rung`. */
  #heard = 0;

  /** @param of what another thread has made, or the row that earlier processes shipped last */
  constructor(of: SharedArrayBuffer | ShippedRow | undefined) {
    this.memory = of instanceof SharedArrayBuffer ? of : new SharedArrayBuffer(END);
    this.#words = new Int32Array(this.memory, 0, NEWEST / 4);
    this.#bytes = new Uint8Array(this.memory);
    this.#view = new DataView(this.memory);
    this.#lock = new Mutex(this.#words, At.lock);
    if (of === undefined || of instanceof SharedArrayBuffer) return;
    this.#write(NEWEST, of);
    this.#copyNewest();
  }

  /** The row that the table is asked for next. */
  get asked(): ShippedRow | undefined {
    return this.#lock.run(() => this.#read(ASKED));
  }

  /** A segment was counted in the table. Those of a backlog may be older than one before. */
  add(row: ShippedRow): void {
    this.#lock.run(() => {
      if (row.receivedAt >= this.#view.getBigInt64(NEWEST + 24, true)) this.#write(NEWEST, row);
    });
  }

  /** The table may not be what it was: it is asked now, for what was shipped until now. */
  doubt(): void {
    this.#lock.run(() => {
      if (this.#words[At.doubted] === 0) this.#copyNewest();
      this.#words[At.doubted] = 1;
    });
    this.ring();
  }

  /** The table has the row, or nothing was asked: next time it is what was shipped until now. */
  found(row: ShippedRow | undefined): void {
    this.#lock.run(() => {
      const asked = this.#read(ASKED);
      if (asked?.streamId !== row?.streamId || asked?.sequence !== row?.sequence) return;
      this.#copyNewest();
      this.#words[At.doubted] = 0;
    });
  }

  /** What the table had is lost: there is nothing to ask for until the next segment is shipped. */
  clear(): void {
    this.#lock.run(() => {
      this.#bytes.fill(0, NEWEST);
      this.#words[At.doubted] = 0;
    });
  }

  ring(): void {
    Atomics.add(this.#words, At.bell, 1);
    Atomics.notify(this.#words, At.bell);
  }

  /** Resolves when somebody has rung since it last did, or after `ms`. */
  async rung(ms: number): Promise<void> {
    const next = Atomics.waitAsync(this.#words, At.bell, this.#heard, ms);
    if (next.async) await next.value;
    this.#heard = Atomics.load(this.#words, At.bell);
  }

  #copyNewest(): void {
    this.#bytes.copyWithin(ASKED, NEWEST, ASKED);
  }

  #write(at: number, { streamId, sequence, receivedAt }: ShippedRow): void {
    this.#bytes.set(uuidBytes(streamId), at);
    this.#view.setBigUint64(at + 16, sequence, true);
    this.#view.setBigInt64(at + 24, receivedAt, true);
  }

  #read(at: number): ShippedRow | undefined {
    const receivedAt = this.#view.getBigInt64(at + 24, true);
    if (receivedAt === 0n) return undefined;
    const streamId = uuidText(this.#bytes.subarray(at, at + 16));
    return { streamId, sequence: this.#view.getBigUint64(at + 16, true), receivedAt };
  }
}
