/** A piece of SQL text. `name` is an identifier or keyword as written, `quoted` an identifier in quotes (unescaped here). */
export interface Token {
  readonly kind: "name" | "quoted" | "string" | "number" | "symbol";
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

const NAME = /[\p{L}_$][\p{L}\p{N}_$]*/uy;
const NUMBER = /\d[\w.]*/y;
const SPACE = /(?:\s|--[^\n]*|#[ !][^\n]*|\/\*[\s\S]*?\*\/)+/y;

/**
 * Splits SQL into tokens. It is used on the text that the engine's formatter printed, where quoting and escapes have one
 * form and comments are gone; on a client's own text only to find where the data of an INSERT begins.
 *
 * @returns undefined when a quote does not end.
 */
export function tokenize(sql: string): Token[] | undefined {
  const tokens: Token[] = [];
  for (const token of scan(sql)) {
    if (token === undefined) return undefined;
    tokens.push(token);
  }
  return tokens;
}

/** The tokens one by one, nothing read ahead; undefined, as the last, for a quote that does not end. */
export function* scan(sql: string): Generator<Token | undefined> {
  let at = match(SPACE, sql, 0).length;
  while (at < sql.length) {
    const token = readToken(sql, at);
    yield token;
    if (token === undefined) return;
    at = token.end + match(SPACE, sql, token.end).length;
  }
}

function readToken(sql: string, start: number): Token | undefined {
  const first = sql[start] ?? "";
  if (first === "'" || first === "`" || first === '"') {
    const quoted = readQuoted(sql, start, first);
    if (quoted === undefined) return undefined;
    return { kind: first === "'" ? "string" : "quoted", text: quoted.text, start, end: quoted.end };
  }
  const name = match(NAME, sql, start);
  if (name !== "") return { kind: "name", text: name, start, end: start + name.length };
  const number = match(NUMBER, sql, start);
  if (number !== "") return { kind: "number", text: number, start, end: start + number.length };
  return { kind: "symbol", text: first, start, end: start + 1 };
}

const ESCAPES: Readonly<Record<string, string>> = {
  n: "\n",
  t: "\t",
  r: "\r",
  b: "\b",
  f: "\f",
  a: "\x07",
  v: "\v",
  "0": "\0",
};

function readQuoted(sql: string, start: number, quote: string): { text: string; end: number } | undefined {
  let text = "";
  for (let at = start + 1; at < sql.length; at++) {
    const char = sql[at] ?? "";
    if (char === "\\") {
      at++;
      const escaped = sql[at] ?? "";
      const hex = escaped === "x" ? /^[0-9A-Fa-f]{2}/.exec(sql.slice(at + 1, at + 3))?.[0] : undefined;
      if (hex !== undefined) {
        text += String.fromCharCode(Number.parseInt(hex, 16));
        at += 2;
      } else {
        text += ESCAPES[escaped] ?? escaped;
      }
    } else if (char !== quote) {
      text += char;
    } else if (sql[at + 1] === quote) {
      text += quote;
      at++;
    } else {
      return { text, end: at + 1 };
    }
  }
  return undefined;
}

function match(pattern: RegExp, text: string, at: number): string {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0] ?? "";
}

/** Whether a token is this word: a keyword is never quoted. */
export function isWord(token: Token | undefined, word: string): boolean {
  return token?.kind === "name" && token.text.toUpperCase() === word;
}

export function isSymbol(token: Token | undefined, symbol: string): boolean {
  return token?.kind === "symbol" && token.text === symbol;
}

/** The name that an identifier token stands for. */
export function identifier(token: Token | undefined): string | undefined {
  return token?.kind === "name" || token?.kind === "quoted" ? token.text : undefined;
}

/** A string as a literal of ClickHouse's SQL. */
export function stringLiteral(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}
