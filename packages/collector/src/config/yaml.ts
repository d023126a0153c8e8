import { Composer, LineCounter, Parser, type CST } from "yaml";
import { CollectorError, errorMessage } from "../errors.ts";

/** Largest configuration, in bytes of UTF-8. */
const MAX_BYTES = 256 * 1024;
/** Deepest nesting that is handed to the YAML library, and that any part of a configuration needs. */
export const MAX_NESTING = 64;
/** Most values that aliases may repeat, as the library counts them. */
const MAX_ALIASES = 100;

/**
 * Parses one YAML document to plain data.
 *
 * @param file for the errors
 * @throws CollectorError `INVALID_CONFIG` with file, line and column
 */
export function parseYaml(text: string, file: string, maxBytes = MAX_BYTES): unknown {
  const bytes = Buffer.byteLength(text);
  if (bytes > maxBytes) throw invalid(`${file}: the document has ${bytes} bytes, at most ${maxBytes} are allowed`);
  const lines = new LineCounter();
  const place = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${file}:${line}:${col}`;
  };
  const tokens = [...new Parser(lines.addNewLine).parse(text)];
  checkNesting(tokens, place);
  // `<<: *anchor` is no part of YAML 1.2, but otelcol's parser knows it.
  const options = { lineCounter: lines, prettyErrors: false, uniqueKeys: true, merge: true };
  const [document, second] = new Composer(options).compose(tokens, true, text.length);
  const error = document?.errors[0];
  if (error) throw invalid(`${place(error.pos[0])}: ${error.message}`, error);
  if (second) throw invalid(`${place(second.range[0])}: the text has more than one YAML document`);
  try {
    return document?.toJS({ maxAliasCount: MAX_ALIASES });
  } catch (cause) {
    throw invalid(`${file}: ${errorMessage(cause)}`, cause);
  }
}

/** A mapping of a parsed document. */
export function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * The library's parser is a state machine, its composer recurses: `- - - …` 30,000 deep ends the whole process (V8 out of
 * stack inside a regular expression), which nothing can catch.
 */
function checkNesting(tokens: readonly CST.Token[], place: (offset: number) => string): void {
  const open: { token: CST.Token; depth: number }[] = tokens.map((token) => ({ token, depth: 0 }));
  for (let next = open.pop(); next; next = open.pop()) {
    const { token, depth } = next;
    if (depth > MAX_NESTING) throw invalid(`${place(token.offset)}: the document is nested deeper than ${MAX_NESTING}`);
    if (token.type === "document" && token.value) open.push({ token: token.value, depth });
    if (!("items" in token)) continue;
    for (const { key, value } of token.items) {
      for (const inner of [key, value]) if (inner) open.push({ token: inner, depth: depth + 1 });
    }
  }
}

function invalid(message: string, cause?: unknown): CollectorError {
  return new CollectorError("INVALID_CONFIG", message, { cause });
}
