/** Bounds of the embedded engine's SQL endpoint. Every one can be overridden at start. */
export interface EngineLimits {
  /** Longest run of a reader's query, in seconds. A client may ask for less. */
  readonly readerSeconds: number;
  /** Memory of one reader's query, in bytes. */
  readonly readerMemoryBytes: number;
  /** Rows of one reader's result. One more is an error (396), not a cut: half an answer about an audit is a wrong one. */
  readonly readerResultRows: number;
  /** Size of one reader's result inside the engine, in bytes. */
  readonly readerResultBytes: number;
  /** Readers' queries that run at a time. */
  readonly readerQueries: number;
  /** Longest run of a query of the writer's role, in seconds. */
  readonly writerSeconds: number;
  /** Memory of one query of the writer's role, in bytes. */
  readonly writerMemoryBytes: number;
  /** Size of a result of the writer's role, in bytes. */
  readonly writerResultBytes: number;
  /** Statements of the writer that run at a time. */
  readonly writerQueries: number;
  /** Requests of one role that wait for their turn; one more is answered with 503 (202). */
  readonly waiting: number;
  /** Length of a statement, in bytes. */
  readonly queryBytes: number;
  /** Size of an insert's body after inflation, in bytes. */
  readonly insertBytes: number;
  /** Time for a client to send its headers, in milliseconds. */
  readonly headersTimeoutMs: number;
  /** Time for a client to send its whole request, in milliseconds. */
  readonly requestTimeoutMs: number;
  /** Open connections. */
  readonly connections: number;
}

export const DEFAULT_LIMITS: EngineLimits = {
  readerSeconds: 60,
  readerMemoryBytes: 2 * 2 ** 30,
  readerResultRows: 1_000_000,
  readerResultBytes: 256 * 2 ** 20,
  readerQueries: 4,
  writerSeconds: 600,
  writerMemoryBytes: 4 * 2 ** 30,
  writerResultBytes: 2 ** 30,
  writerQueries: 3,
  waiting: 64,
  queryBytes: 256 * 2 ** 10,
  insertBytes: 512 * 2 ** 20,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 120_000,
  connections: 256,
};
