import { resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

/** A file as a record names it. */
export interface FileName {
  /** Absolute, `.` and `..` resolved, symbolic links not followed. */
  readonly path: string;
  /** `file:///…`, percent-encoded like pathToFileURL does. */
  readonly uri: string;
}

/** What needs no percent-encoding in a path. */
const PLAIN = /^\/[\w\-./~+@,=:]*$/;
const MAX_CACHED = 4096;

const cache = new Map<string, FileName>();

/**
 * The file that a path argument names: string, Buffer or file URL. Undefined for what names none (a file descriptor, a
 * FileHandle, an invalid argument): the original says what is wrong with it.
 */
export function fileName(argument: unknown): FileName | undefined {
  const text = pathText(argument);
  if (text === undefined || text === "") return undefined;
  const absolute = text.startsWith("/") ? text : resolve(text);
  let name = cache.get(absolute);
  if (name === undefined) {
    const path = resolve(absolute);
    name = { path, uri: fileUri(path) };
    if (cache.size >= MAX_CACHED) cache.clear();
    cache.set(absolute, name);
  }
  return name;
}

function pathText(argument: unknown): string | undefined {
  if (typeof argument === "string") return argument;
  if (argument instanceof Uint8Array)
    return Buffer.from(argument.buffer, argument.byteOffset, argument.byteLength).toString();
  if (argument instanceof URL && argument.protocol === "file:") {
    try {
      return fileURLToPath(argument);
    } catch {
      return undefined;
    }
  }
  return undefined;
}

function fileUri(path: string): string {
  if (PLAIN.test(path)) return `file://${path}`;
  return pathToFileURL(path).href;
}
