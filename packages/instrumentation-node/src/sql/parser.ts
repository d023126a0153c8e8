import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

import { isPromise, whenSettled } from "../intrinsics.ts";
import { ownWork } from "../own-work.ts";
import { isFunction, isObject, property } from "../unknown.ts";
import type { UnclassifiedReason } from "./classification.ts";
import { nestingBound } from "./complexity.ts";

/** Texts above this many UTF-16 units are not parsed: a parse costs about half a millisecond per KiB. */
export const MAX_SQL_LENGTH = 128 * 1024;
/** Texts that may nest deeper than this are not parsed; PostgreSQL's parser in WebAssembly traps at about 6,000. */
const MAX_NESTING = 1500;

/** A node of libpg-query's tree: protobuf JSON of PostgreSQL's own. */
export type SqlNode = Readonly<Record<string, unknown>>;

type ParsedSql =
  | { readonly statements: readonly SqlNode[]; readonly reason?: undefined }
  | { readonly statements?: undefined; readonly reason: UnclassifiedReason };

/** The statements of a text, each as `{ <kind>: node }`. Never throws; time and memory are bounded by the text's limit. */
export function parseSql(text: string): ParsedSql {
  if (text === "") return { statements: [] };
  if (text.length > MAX_SQL_LENGTH) return { reason: "too_long" };
  // The C code would stop at a NUL and judge only what is before it.
  if (text.includes("\0")) return { reason: "invalid" };
  if (nestingBound(text) > MAX_NESTING) return { reason: "too_deep" };
  const parser = loadedParser();
  if (parser === undefined) return { reason: "no_parser" };
  try {
    // As pg sends it: half a surrogate pair leaves as U+FFFD.
    const json = parser.parse(Buffer.from(text).toString());
    if (json === undefined) return { reason: "invalid" };
    const tree: unknown = JSON.parse(json);
    const raw = property(tree, "stmts");
    const nodes = Array.isArray(raw) ? raw.map((one): unknown => property(one, "stmt")) : [];
    return { statements: nodes.filter(isObject) };
  } catch {
    // The caller's own stack was nearly used up. A trapped module answers on, but leaks its stack, and after some two
    // dozen traps it was seen to loop for ever: the next text gets a new one.
    current = undefined;
    return { reason: "too_deep" };
  }
}

/** One instance of PostgreSQL's parser. */
interface Parser {
  /** The tree as JSON; undefined when the text is no SQL. Throws when the instance is not to be used again. */
  parse(text: string): string | undefined;
}

/** The two classes that are needed, for which Node's types have no name. */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object, imports: unknown) => object;
};

let compiled: object | undefined;
let current: Parser | undefined;
let isBroken = false;

/**
 * Loads PostgreSQL's parser with the first statement (1.7 MB of WebAssembly: about 20 ms and 15 MB, once), so that a
 * process without SQL does not pay for it. Synchronously, so that there is no statement before it is there; the
 * library's own entry can only be awaited.
 */
function loadedParser(): Parser | undefined {
  if (current !== undefined || isBroken) return current;
  try {
    current = ownWork(instantiate);
  } catch (error) {
    // `no_parser` in every record says so. A caller without stack may not switch it off for all others.
    isBroken = !(error instanceof RangeError);
  }
  return current;
}

const NOTHING = (): void => {};

function instantiate(): Parser {
  const require = createRequire(import.meta.url);
  const factory: unknown = require("libpg-query/wasm/libpg-query.js");
  if (!isFunction(factory)) throw new TypeError("libpg-query: no factory");
  const code = (compiled ??= new WebAssembly.Module(
    readFileSync(require.resolve("libpg-query/wasm/libpg-query.wasm")),
  ));
  const module: Record<string, unknown> = {
    // Emscripten's hook for those who instantiate themselves. It calls it, and takes over the exports, before it awaits
    // anything; what it does afterwards is for programs that use files.
    instantiateWasm: (imports: unknown, done: (instance: object) => void): void =>
      done(new WebAssembly.Instance(code, imports)),
  };
  const whole: unknown = factory(module);
  if (isPromise(whole)) void whenSettled(whole, NOTHING, NOTHING);
  return parserOf(module);
}

/** A pointer into the module's memory. */
type Pointer = number;

/** The C functions and Emscripten's helpers of libpg-query 17 and 18. */
interface Exports {
  _malloc(size: number): Pointer;
  _free(pointer: Pointer): void;
  _wasm_parse_query_raw(text: Pointer): Pointer;
  _wasm_free_parse_result(result: Pointer): void;
  lengthBytesUTF8(text: string): number;
  stringToUTF8(text: string, to: Pointer, size: number): void;
  UTF8ToString(from: Pointer): string;
  getValue(from: Pointer, type: "i32"): number;
}

const NAMES: readonly (keyof Exports)[] = [
  "_malloc",
  "_free",
  "_wasm_parse_query_raw",
  "_wasm_free_parse_result",
  "lengthBytesUTF8",
  "stringToUTF8",
  "UTF8ToString",
  "getValue",
];

function areExports(module: object): module is Exports {
  return NAMES.every((name) => isFunction(property(module, name)));
}

function parserOf(module: object): Parser {
  if (!isObject(module) || !areExports(module)) throw new TypeError("libpg-query: another interface");
  const library: Exports = module;
  return {
    parse: (text) => {
      const size = library.lengthBytesUTF8(text) + 1;
      const input = library._malloc(size);
      library.stringToUTF8(text, input, size);
      const result = library._wasm_parse_query_raw(input);
      // PgQueryParseResult { char *parse_tree; char *stderr_buffer; PgQueryError *error; }
      const isError = library.getValue(result + 8, "i32") !== 0;
      const tree = isError ? undefined : library.UTF8ToString(library.getValue(result, "i32"));
      library._free(input);
      library._wasm_free_parse_result(result);
      return tree;
    },
  };
}
