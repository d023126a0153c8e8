import fs from "node:fs";
import { isAbsolute } from "node:path";
import { devNull } from "node:os";

import { rethrowOverflow } from "../../intrinsics.ts";
import { ownWork } from "../../own-work.ts";
import { beneathOthers } from "../../patch.ts";
import { isObject, property } from "../../unknown.ts";
import { type FileName, fileName } from "./paths.ts";

// What is done by a handle belongs to the record of its opening. But a file that was opened to be read can be given
// other rights, owners and times by its handle.

const { readFileSync, readlinkSync } = fs;
const open = beneathOthers(fs.promises.open);
const O_ACCMODE = 3;

let prototype: object | undefined;

/** Finds the class of file handles, which has no public name. */
export async function findFileHandle(): Promise<void> {
  if (prototype !== undefined) return;
  try {
    const handle = await Reflect.apply(open, fs.promises, [devNull]);
    const found: unknown = Object.getPrototypeOf(handle);
    await handle.close();
    if (isObject(found)) prototype = found;
  } catch {
    // No more files can be opened: handles stay as they are.
  }
}

/** Undefined before it was found. */
export function fileHandlePrototype(): object | undefined {
  return prototype;
}

export function isFileHandle(value: object): boolean {
  if (prototype !== undefined) return Object.prototype.isPrototypeOf.call(prototype, value);
  return typeof property(value, "fd") === "number" && typeof property(value, "readableWebStream") === "function";
}

/**
 * The file that a change by its handle changes; undefined when the file was opened to be written, so that the change is
 * part of that record, or when the handle is of no file. The system is asked instead of a table kept: nobody has to pay
 * for what is rare, and handles that came from elsewhere have a name too.
 */
export function fileOfHandle(fd: unknown): FileName | undefined {
  if (typeof fd !== "number" || !Number.isInteger(fd) || fd < 0) return undefined;
  if (process.platform !== "linux") return fileName(`/dev/fd/${fd}`);
  try {
    return ownWork(() => {
      const flags = /^flags:\s*([0-7]+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "latin1"))?.[1] ?? "0";
      if ((Number.parseInt(flags, 8) & O_ACCMODE) !== fs.constants.O_RDONLY) return undefined;
      const path = readlinkSync(`/proc/self/fd/${fd}`);
      return isAbsolute(path) ? fileName(path) : undefined;
    });
  } catch (error) {
    rethrowOverflow(error);
    return undefined;
  }
}
