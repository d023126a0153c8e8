import { OPEN_SYSTEM_TABLES } from "./catalogue.ts";
import type { Catalogue } from "./catalogue.ts";
import { exception } from "./exception.ts";
import { names } from "./names.ts";
import { identifier, isSymbol, isWord, tokenize } from "./sql-tokens.ts";
import type { Token } from "./sql-tokens.ts";

/** A statement's text as the engine printed it, and what its bound parameters say. */
interface CanonicalStatement {
  readonly sql: string;
  readonly parameters: ReadonlyMap<string, string>;
}

/** What `SHOW` may show: schema and settings, never processes, users or grants. */
const SHOWABLE = names(`
  TABLES, FULL, DATABASES, COLUMNS, CREATE, INDEX, INDEXES, INDICES, KEYS,
  FUNCTIONS, SETTINGS, SETTING, ENGINES, CHANGED
`);
const EXPLAINABLE = new Set(["AST", "SYNTAX", "QUERY", "TREE", "PLAN", "PIPELINE", "ESTIMATE"]);

/**
 * Looks at a reading statement after the engine's parser accepted it and its formatter printed it.
 *
 * @param systemTables tables of `system` that are open besides {@link OPEN_SYSTEM_TABLES}.
 * @returns the tokens, identifiers bound as parameters put in.
 * @throws ClickHouseError with the exception a client gets.
 */
export function checkRead(
  statement: CanonicalStatement,
  catalogue: Catalogue,
  systemTables: ReadonlySet<string> = new Set(),
): Token[] {
  const tokens = bindIdentifiers(tokenize(statement.sql), statement.parameters);
  checkVerb(tokens);
  for (const [index, token] of tokens.entries()) {
    const next = tokens[index + 1];
    if (isWord(token, "INTO") && isWord(next, "OUTFILE")) throw refused("INTO OUTFILE is not available here");
    checkSettings(token, next, tokens[index + 2]);
    const name = identifier(token);
    if (name === undefined) continue;
    checkFunction(name, next, catalogue);
    if (name === "system" && isSymbol(next, ".")) {
      const table = identifier(tokens[index + 2]) ?? "";
      if (!OPEN_SYSTEM_TABLES.has(table) && !systemTables.has(table)) {
        throw refused(`system.${table} is not open to this user`);
      }
    }
  }
  return tokens;
}

/**
 * With `readonly = 1` the engine refuses a change in the outermost clause only: in a subquery, or by a profile, it takes it.
 * What may be set comes in the address.
 */
function checkSettings(token: Token, name: Token | undefined, equals: Token | undefined): void {
  if (!isWord(token, "SETTINGS") || identifier(name) === undefined || !isSymbol(equals, "=")) return;
  throw exception(
    "READONLY",
    `Cannot modify '${name?.text}' setting in readonly mode: there is no SETTINGS clause here`,
  );
}

function checkFunction(name: string, next: Token | undefined, catalogue: Catalogue): void {
  const lower = name.toLowerCase();
  if (catalogue.forbiddenFunctions.has(lower)) {
    throw refused(`the function ${name} is not available here, and its name is not available as an alias either`);
  }
  if (isSymbol(next, "(") && catalogue.forbiddenTableFunctions.has(lower)) {
    throw refused(`the table function ${name} is not available here`);
  }
}

function checkVerb(tokens: readonly Token[]): void {
  const [first, second] = tokens;
  if (isSelect(first) || isWord(first, "DESCRIBE") || isWord(first, "EXISTS")) return;
  if (isWord(first, "SHOW")) {
    if (second?.kind === "name" && SHOWABLE.has(second.text.toUpperCase())) return;
    throw refused(`SHOW ${second?.text ?? ""} is not available here`);
  }
  if (isWord(first, "EXPLAIN")) {
    checkExplained(tokens);
    return;
  }
  throw refused("only SELECT, SHOW, DESCRIBE, EXPLAIN and EXISTS are available here");
}

/** `EXPLAIN AST` prints anything, also a DROP: what is explained has to be a SELECT. */
function checkExplained(tokens: readonly Token[]): void {
  for (const token of tokens.slice(1)) {
    if (isSelect(token)) return;
    // Options: `header = 1, actions = 1`.
    const isOption = token.kind === "number" || token.kind === "string" || isSymbol(token, "=") || isSymbol(token, ",");
    const isKind = token.kind === "name" && EXPLAINABLE.has(token.text.toUpperCase());
    const isOptionName = token.kind === "name" && /^[a-z_]+$/.test(token.text);
    if (!isOption && !isKind && !isOptionName) break;
  }
  throw refused("only a SELECT can be explained here");
}

function isSelect(token: Token | undefined): boolean {
  return isWord(token, "SELECT") || isWord(token, "WITH") || isSymbol(token, "(");
}

/** Puts the value of `{name:Identifier}` where it stands, so that the rules see the name that the engine will see. */
function bindIdentifiers(tokens: readonly Token[] | undefined, parameters: ReadonlyMap<string, string>): Token[] {
  if (tokens === undefined) throw exception("SYNTAX_ERROR", "a quote does not end");
  const bound: Token[] = [];
  for (let at = 0; at < tokens.length; at++) {
    const token = tokens[at];
    if (token === undefined) break;
    const [name, colon, type, close] = tokens.slice(at + 1, at + 5);
    if (isSymbol(token, "{") && isSymbol(colon, ":") && isWord(type, "IDENTIFIER") && isSymbol(close, "}")) {
      bound.push(identifierValue(name, token, parameters));
      at += 4;
    } else {
      bound.push(token);
    }
  }
  return bound;
}

function identifierValue(name: Token | undefined, at: Token, parameters: ReadonlyMap<string, string>): Token {
  const value = parameters.get(name?.text ?? "");
  // A backslash would have to be unescaped exactly as the engine does it; no table or column needs one.
  if (value === undefined || !/^[\w.$: -]+$/.test(value)) {
    throw exception("BAD_ARGUMENTS", `parameter ${name?.text ?? ""}: not set, or not a plain name`);
  }
  return { kind: "quoted", text: value, start: at.start, end: at.end };
}

function refused(why: string): Error {
  return exception("ACCESS_DENIED", `Not enough privileges: ${why}`);
}
