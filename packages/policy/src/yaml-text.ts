import type { CST, Document, LineCounter, YAMLError } from "yaml";
import { yamlLibrary } from "./lazy.ts";

/** Deepest nesting that is handed to the YAML library; policies need seven levels. */
const MAX_NESTING = 64;

interface YamlText {
  readonly document: Document;
  readonly faults: readonly YAMLError[];
  readonly lines: LineCounter;
}

/** The text is nested too deeply at this offset. */
export class NestingError extends Error {
  override readonly name = "NestingError";
  readonly offset: number;

  constructor(offset: number) {
    super(`the document is nested deeper than ${MAX_NESTING}`);
    this.offset = offset;
  }
}

/** Parses one YAML 1.2 document with the places of its nodes. Throws {@link NestingError}. */
export function parseYaml(text: string): YamlText {
  const { Composer, LineCounter, Parser, YAMLParseError } = yamlLibrary();
  const lines = new LineCounter();
  const tokens = [...new Parser(lines.addNewLine).parse(text)];
  checkNesting(tokens);
  const composer = new Composer({
    lineCounter: lines,
    prettyErrors: false,
    // The library's check is quadratic; `Source` has its own.
    uniqueKeys: false,
    stringKeys: true,
    merge: false,
    schema: "core",
    version: "1.2",
  });
  const [document, second] = composer.compose(tokens, true, text.length);
  if (document === undefined) {
    throw new Error("the YAML library gave no document");
  }
  const faults: YAMLError[] = [...document.errors, ...document.warnings];
  if (second !== undefined) {
    const start = second.range[0];
    faults.push(new YAMLParseError([start, start], "MULTIPLE_DOCS", "the text has more than one YAML document"));
  }
  return { document, faults, lines };
}

/**
 * The library's lexer and parser are state machines, its composer recurses: `- - - …` to a depth of 30,000 ended the whole
 * process (V8 out of stack inside a regular expression), which nothing can catch.
 */
function checkNesting(tokens: readonly CST.Token[]): void {
  const open: { token: CST.Token; depth: number }[] = tokens.map((token) => ({ token, depth: 0 }));
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { token, depth } = next;
    if (depth > MAX_NESTING) {
      throw new NestingError(token.offset);
    }
    if (token.type === "document" && token.value !== undefined) {
      open.push({ token: token.value, depth });
    }
    if ("items" in token) {
      for (const item of token.items) {
        for (const inner of [item.key, item.value]) {
          if (inner !== undefined && inner !== null) {
            open.push({ token: inner, depth: depth + 1 });
          }
        }
      }
    }
  }
}
