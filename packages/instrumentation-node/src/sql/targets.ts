import { isIP } from "node:net";

import type { Target } from "../audit.ts";
import type { SqlClassification, SqlTable } from "./classification.ts";

/** Where a client is connected to. */
export interface DatabaseAddress {
  /** Name, address, or the directory of a unix socket. */
  readonly host: string;
  readonly port: number;
  readonly database: string;
}

/** Where a connection's server looks for names without schema, as far as that is known. */
export interface SearchPath {
  /** What the schema can be; one where it is certain. */
  readonly schemas: readonly string[];
  /** It can be any other, too. */
  readonly isOpen: boolean;
}

export const DEFAULT_PATH: SearchPath = { schemas: ["public"], isOpen: false };

/** Stands for any schema or any table in a target's id; in a name it is `%2A`. */
const ANY = "*";

/** Relations that a name without schema means when it is not the server's search_path that decides. */
const CATALOG = /^pg_/;

/**
 * The database's canonical id, `postgresql://host[:port if not 5432]/database`. A socket directory is percent-encoded
 * in the host's place, as libpq's URIs have it; so is what could be mistaken for a part of the URI.
 */
export function databaseId({ host, port, database }: DatabaseAddress): string {
  const name = host.toLowerCase().replace(/\.$/, "");
  const authority = isIP(name) === 6 ? `[${name}]` : encodeURIComponent(name);
  return `postgresql://${authority}${port === 5432 ? "" : `:${port}`}/${encodeURIComponent(Buffer.from(database).toString())}`;
}

/**
 * What a text of statements touches in a database. Written tables come first, for the first is a record's main target;
 * before them the database itself where the text acts on it as a whole.
 *
 * A name without schema is in each of the search path's schemas, or in any: each possibility is a target. `pg_…` is in
 * `pg_catalog`.
 */
export function sqlTargets(
  classification: SqlClassification,
  database: string,
  path: SearchPath = DEFAULT_PATH,
): Target[] {
  const tables = classification.tables.flatMap((table): Target[] =>
    schemasOf(table, path).map((schema) => target(database, schema, encode(table.name), table.access)),
  );
  const whole = classification.schemas?.map((schema) => target(database, encode(schema), ANY, "write")) ?? [];
  const all = [...whole, ...tables];
  return classification.database || all.length === 0 ? [{ type: "database", id: database }, ...all] : all;
}

function target(database: string, schema: string, table: string, access: "read" | "write"): Target {
  return { type: "database.table", id: `${database}/${schema}.${table}`, access };
}

function schemasOf({ schema, name }: SqlTable, { schemas, isOpen }: SearchPath): readonly string[] {
  if (schema !== undefined) return [encode(schema)];
  if (CATALOG.test(name)) return ["pg_catalog"];
  return isOpen ? [ANY] : schemas.map(encode);
}

/** The dot separates schema and table, so that one in a quoted name is encoded. */
function encode(name: string): string {
  return encodeURIComponent(name).replaceAll(".", "%2E").replaceAll("*", "%2A");
}
