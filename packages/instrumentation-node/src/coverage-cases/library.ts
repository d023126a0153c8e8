/** What is covered of one library, as cases that real processes run. `docs/coverage.md` is made from these tables. */
export interface CoverageLibrary {
  /** Heading in docs/coverage.md. */
  readonly name: string;
  /**
   * Module to import by the name that `code` uses, `{ fs: "node:fs" }`. A module that is itself called (`got(url)`) says
   * `{ got: { callable: "got" } }`.
   */
  readonly imports: Readonly<Record<string, string | { readonly callable: string }>>;
  /** Statements before the cases, once for a process, as `agent:setup`. What they declare is there for all cases. */
  readonly setup?: string;
  /** Statements before each case, in its directory, as `agent:setup`. */
  readonly fixture?: string;
  /** Statements after the cases, as `agent:setup`. */
  readonly teardown?: string;
  /** Start a PostgreSQL server with this schema; its URL is `DB`. */
  readonly database?: string;
  readonly cases: readonly CoverageCase[];
  /** What is known not to be recorded, or not in full, with the reason. */
  readonly notSeen?: readonly NotSeen[];
}

interface NotSeen {
  readonly api: string;
  readonly why: string;
}

/** How an API tells its caller about an error; also how it says that the policy denied the call. */
type Form = "sync" | "callback" | "promise" | "event";

export type ImportStyle = (typeof IMPORT_STYLES)[number];
export const IMPORT_STYLES = ["CommonJS", "default", "namespace", "named"] as const;

export interface CoverageCase {
  /** What the reader of docs/coverage.md looks for: `fs.promises.readFile`. Cases with the same api share a line. */
  readonly api: string;
  readonly form: Form;
  /**
   * An expression that calls it: its value (sync), a promise (promise), `done` given to it (callback), or the emitter
   * that it returns (event; over at `close` or `end`). It runs in an empty directory of its own, by the names of
   * `imports`, what `setup` declared, and `DIR` (that directory), `API` and `TLS` (URLs of servers that echo), `DB`.
   */
  readonly code: string;
  /**
   * Every record it makes, in order: `event ACTION outcome [error] target`, then ` reads a,b` and ` writes a,b` if it
   * has several targets. `$DIR`, `$API`, `$TLS`, `$DB` (without credentials) stand for what differs from run to run.
   */
  readonly records: readonly string[];
  /** More about the case, for the reader: `relative path`, `aborted`. */
  readonly note?: string;
  /** How a denied call says so, where the form does not tell. */
  readonly denied?: Form | "throw";
  /** Not run against a policy that denies everything, for example because it goes on after the error. */
  readonly notDenied?: true;
  /** First major version of Node that has it. */
  readonly since?: number;
  /** Import styles it is run under; all by default. */
  readonly styles?: readonly ImportStyle[];
}

/** How the caller gets an error. */
export const CHANNELS: Readonly<Record<Form, string>> = {
  sync: "throw",
  callback: "callback",
  promise: "rejection",
  event: "`error` event",
};
