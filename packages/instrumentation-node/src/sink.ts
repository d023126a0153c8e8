/** What has begun, as its end needs it; filled in by `Sink.begin`. */
export interface InSpool {
  /** `audit.producer.sequence`. */
  sequence: number;
  /** Counts the spool's folders: what began in another one than the current has its intent elsewhere. */
  epoch: number;
  /** So much of the intent is repeated by the outcome, in bytes. */
  headLength: number;
  /** That part of the intent; undefined while it stands at `at` in the open file. */
  head: Uint8Array | undefined;
  /** Its intent has room for a longer end: one that takes all but a byte of it, or less. */
  readonly hasRoom: boolean;
  /** Of the intent as a whole, in bytes. */
  length: number;
  at: number;
  /** The list of what has begun and not ended. */
  newer: InSpool | undefined;
  older: InSpool | undefined;
}

/** Where records go, numbered. Every write may throw: nothing is written then, and the number is given to the next. */
export interface Sink {
  /** `audit.producer.sequence` of the next record that begins. */
  readonly nextSequence: number;
  /** Counts how often the place of the records was lost: what began in another one has its intent elsewhere. */
  readonly epoch: number;
  /**
   * Writes what is about to happen, under `nextSequence`: the first `length` bytes. Fills in `entry`.
   * @param headLength so many of them the outcome repeats
   */
  begin(entry: InSpool, bytes: Buffer, length: number, headLength: number, durable: boolean): void;
  /** Writes how it ended: the head of its intent, and as its tail the first `length` bytes. There is room for it. */
  end(entry: InSpool, bytes: Buffer, length: number, durable: boolean): void;
  /** Writes a record that is whole, under `nextSequence`: the first `length` bytes. */
  write(bytes: Buffer, length: number, durable: boolean): void;
  /** Resolves when records went out, or after `timeoutMs`. */
  room(timeoutMs: number): Promise<void>;
}
