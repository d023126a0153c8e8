import { readlinkSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

import { ownWork } from "../../own-work.ts";
import { property } from "../../unknown.ts";

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
/** Longer paths are not kept: Linux opens none above 4,096 bytes, but an application can ask for any. */
const MAX_CACHED_LENGTH = 1024;

const cache = new Map<string, FileName>();

/**
 * The file that a path argument names: string, Buffer or file URL. Undefined for what names none (a file descriptor, a
 * FileHandle, an invalid argument): the original says what is wrong with it.
 */
export function fileName(argument: unknown): FileName | undefined {
  const text = pathText(argument);
  if (text === undefined || text === "") return undefined;
  const absolute = text.startsWith("/") ? text : resolve(workingDirectory(), text);
  let name = cache.get(absolute);
  if (name === undefined) {
    const path = throughProc(resolve(absolute));
    name = { path, uri: fileUri(path) };
    // What leads through the working directory is another file after a chdir.
    if (absolute.length <= MAX_CACHED_LENGTH && !absolute.startsWith("/proc/")) {
      if (cache.size >= MAX_CACHED) cache.clear();
      cache.set(absolute, name);
    }
  }
  return name;
}

/** This process's own doors in /proc, opened without a look at the disk: `/proc/self/root/etc` is `/etc`. */
const OWN_DOOR = new RegExp(`^/proc/(?:self|thread-self|${process.pid})/(?:task/[^/]+/)?(root|cwd)(?=/|$)`);

function throughProc(path: string): string {
  let inner = path;
  for (let door = OWN_DOOR.exec(inner); door !== null; door = OWN_DOOR.exec(inner)) {
    const rest = inner.slice(door[0].length);
    inner = resolve(`${door[1] === "cwd" ? workingDirectory() : ""}${rest === "" ? "/" : rest}`);
  }
  return inner;
}

function pathText(argument: unknown): string | undefined {
  if (typeof argument === "string") return argument;
  if (argument instanceof Uint8Array)
    return Buffer.from(argument.buffer, argument.byteOffset, argument.byteLength).toString();
  if (isUrl(argument)) {
    try {
      return fileURLToPath(argument);
    } catch {
      return undefined;
    }
  }
  return undefined;
}

/** As Node tells a URL, which may be of another implementation than its own. */
function isUrl(value: unknown): value is URL {
  return Boolean(
    property(value, "href") &&
    property(value, "protocol") &&
    property(value, "auth") === undefined &&
    property(value, "path") === undefined,
  );
}

/** A directory that was removed is still one to open files from: `../x` is found. */
function workingDirectory(): string {
  try {
    return process.cwd();
  } catch {
    try {
      return ownWork(() => readlinkSync("/proc/self/cwd")).replace(/ \(deleted\)$/, "");
    } catch {
      return "/";
    }
  }
}

function fileUri(path: string): string {
  if (PLAIN.test(path)) return `file://${path}`;
  return pathToFileURL(path).href;
}
