import type { AuditAction, AuditDbUnclassified } from "@otel-audit/semantic-conventions";

/** Why a text was not understood: invalid, longer than MAX_SQL_LENGTH, nested too deeply, or there was no parser. */
export type UnclassifiedReason = AuditDbUnclassified;

/** A table, view, sequence or other relation. */
export interface SqlTable {
  /** As written; undefined where the server's search_path decides. */
  readonly schema: string | undefined;
  readonly name: string;
  readonly access: "read" | "write";
}

/** What a text of one or several statements does, without any literal or parameter of it. */
export interface SqlClassification {
  /** The most dangerous of what it does: EXECUTE > DELETE > UPDATE > CREATE > WRITE > READ. */
  readonly action: AuditAction;
  /** `SELECT`, `CREATE TABLE`, …: each once, in order. */
  readonly operations: readonly string[];
  /** Each table once for each access, written ones first. Names of CTEs are not among them. */
  readonly tables: readonly SqlTable[];
  /** It also, or only, acts on the database as a whole: DO, CALL, server functions, no table at all. */
  readonly database: boolean;
  /** `db.query.summary`: `SELECT orders customers`; at most 255 characters. */
  readonly summary: string;
  /** Nothing but BEGIN, COMMIT, SET, SHOW, `SELECT 1` and such. */
  readonly ignorable: boolean;
  /** Schemas of which it touches every table, whatever their names: DROP SCHEMA … CASCADE. */
  readonly schemas?: readonly string[];
  /** What it changes for the statements after it on the same connection. */
  readonly effects?: readonly SessionEffect[];
  /** The text is nothing but an EXECUTE of the statement that was prepared, in SQL, under this name. */
  readonly executes?: string;
  /** Set when the text was not understood: it is then an EXECUTE on the database. */
  readonly unclassified?: UnclassifiedReason;
}

/** What a statement changes for those after it on the same connection. */
export type SessionEffect =
  /** Where names without schema are looked for; undefined where the text does not say. */
  | { readonly kind: "path"; readonly schemas: readonly string[] | undefined; readonly isLocal: boolean }
  | { readonly kind: "path_reset" }
  /** The text is nothing but this PREPARE. */
  | { readonly kind: "prepare"; readonly name: string }
  /** A prepared statement, or all of them, mean something else now, or nothing. */
  | { readonly kind: "forget"; readonly name: string | undefined };
