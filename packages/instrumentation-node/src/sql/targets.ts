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
 * A name without schema is taken to be in `public` (`pg_…` in `pg_catalog`): which schema the server's search_path leads
 * to is not known here.
 */
export function sqlTargets(classification: SqlClassification, database: string): Target[] {
  const tables = classification.tables.map((table): Target => ({
    type: "database.table",
    id: `${database}/${encode(schemaOf(table))}.${encode(table.name)}`,
    access: table.access,
  }));
  return classification.database || tables.length === 0 ? [{ type: "database", id: database }, ...tables] : tables;
}

function schemaOf({ schema, name }: SqlTable): string {
  return schema ?? (CATALOG.test(name) ? "pg_catalog" : "public");
}

/** The dot separates schema and table, so that one in a quoted name is encoded. */
function encode(name: string): string {
  return encodeURIComponent(name).replaceAll(".", "%2E");
}
