import { exception } from "./exception.ts";
import { identifier, isSymbol, isWord, scan, stringLiteral, tokenize } from "./sql-tokens.ts";
import type { Token } from "./sql-tokens.ts";

/** Where the text of an INSERT ends and its data begins, counted in characters. */
interface InsertText {
  readonly statement: string;
  readonly dataStart: number;
}

/** A statement that inserts the data of a file. */
export interface InsertStatement {
  readonly table: string;
  readonly format: string;
  /** The statement, with `FROM INFILE` for the given path. */
  toSql(path: string): string;
}

/**
 * Finds the data behind `INSERT … FORMAT name` or `INSERT … VALUES` in a text that holds both.
 *
 * @returns undefined when the text is not an INSERT with data.
 */
export function splitInsert(text: string): InsertText | undefined {
  let previous: Token | undefined;
  // One token at a time: what follows the format's name is data and may look like anything.
  for (const token of scan(text)) {
    if (token === undefined || (previous === undefined && !isWord(token, "INSERT"))) return undefined;
    if (isWord(token, "VALUES")) return { statement: text.slice(0, token.end), dataStart: token.end };
    if (isWord(previous, "FORMAT"))
      return { statement: text.slice(0, token.end), dataStart: skipLine(text, token.end) };
    previous = token;
  }
  return undefined;
}

/** Blanks up to and with the first line break belong to the statement; what follows is data, byte for byte. */
function skipLine(text: string, at: number): number {
  const blank = /[ \t\r]*\n?/y;
  blank.lastIndex = at;
  return at + (blank.exec(text)?.[0].length ?? 0);
}

/**
 * Reads an INSERT as the engine's formatter printed it.
 *
 * @throws ClickHouseError for anything but `INSERT INTO [database.]table [(columns)] [SETTINGS …] FORMAT name`.
 */
export function readInsert(canonical: string, database: string): InsertStatement {
  const tokens = tokenize(canonical) ?? [];
  if (!isWord(tokens[0], "INSERT") || !isWord(tokens[1], "INTO") || isWord(tokens[2], "FUNCTION")) throw notAnInsert();
  let at = 2;
  let table = identifier(tokens[at]);
  if (isSymbol(tokens[at + 1], ".")) {
    if (table !== database)
      throw exception("ACCESS_DENIED", `Not enough privileges: only tables of ${database} take rows`);
    at += 2;
    table = identifier(tokens[at]);
  }
  const format = tokens.at(-1);
  const end = tokens[at]?.end;
  if (table === undefined || end === undefined || format?.kind !== "name" || !isWord(tokens.at(-2), "FORMAT")) {
    throw notAnInsert();
  }
  const rest = tokens.slice(at + 1, -2);
  const columns = closingParenthesis(rest);
  const settings = rest[columns];
  if (settings !== undefined && !isWord(settings, "SETTINGS")) throw notAnInsert();
  const columnsEnd = rest[columns - 1]?.end ?? end;
  return {
    table,
    format: format.text,
    toSql: (path) =>
      `${canonical.slice(0, columnsEnd)} FROM INFILE ${stringLiteral(path)} COMPRESSION 'none'${canonical.slice(columnsEnd)}`,
  };
}

/** Index behind the column list, 0 without one. */
function closingParenthesis(tokens: readonly Token[]): number {
  if (!isSymbol(tokens[0], "(")) return 0;
  const close = tokens.findIndex((token) => isSymbol(token, ")"));
  if (close < 0 || tokens.slice(1, close).some((token) => isSymbol(token, "("))) throw notAnInsert();
  return close + 1;
}

function notAnInsert(): Error {
  return exception(
    "INCORRECT_QUERY",
    "the writer sends SELECT or INSERT INTO table (columns) FORMAT name with its data",
  );
}
