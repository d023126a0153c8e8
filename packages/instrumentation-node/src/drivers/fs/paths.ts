import { isUtf8 } from "node:buffer";
import { readlinkSync } from "node:fs";
import { resolve } from "node:path";
import { types } from "node:util";
import { pathToFileURL } from "node:url";

import {
  ATTR_AUDIT_FILE_FLAGS,
  ATTR_AUDIT_FILE_RECURSIVE,
  ATTR_FILE_PATH,
  type AuditAction,
} from "@otel-audit/semantic-conventions";

import type { ObservedAction, Target } from "../../audit.ts";
import { Memo } from "../../memo.ts";
import { rethrowOverflow } from "../../intrinsics.ts";
import { ownWork } from "../../own-work.ts";
import { follow, followBytes, lookTime } from "../../links.ts";
import { urlPath } from "./urls.ts";

/** What a call does to the one file it names. */
export interface Meaning {
  readonly event: string;
  readonly action: AuditAction;
  /** It acts on a symbolic link itself and not on what is behind. */
  readonly onLink?: boolean;
  /** On all that is below, too. */
  readonly recursive?: boolean;
  /** `audit.file.flags` */
  readonly flags?: string;
}

interface Name {
  readonly resolved: string;
  readonly uri: string;
}

/** `latin1`: a character stands for a byte, in a name that is not UTF-8. */
type Encoding = "utf8" | "latin1";

/** A file as a record names it. */
export class FileName implements Name {
  /** Absolute, `.` and `..` resolved as text, symbolic links not followed. */
  readonly path: string;
  /** `file:///…`, percent-encoded like pathToFileURL does; what is not UTF-8 byte by byte. */
  readonly uri: string;
  readonly resolved: string;
  /** Absolute, as the system gets it. */
  readonly raw: string;
  readonly #encoding: Encoding;
  readonly #actions = new Map<Meaning, ObservedAction>();
  #itself: Name | undefined;
  #behind: Name | undefined;
  #lookedAt = 0;

  constructor(raw: string, encoding: Encoding = "utf8") {
    this.resolved = throughProc(resolve(raw));
    this.path = encoding === "utf8" ? this.resolved : Buffer.from(this.resolved, encoding).toString();
    this.uri = fileUri(this.resolved, encoding);
    this.raw = raw;
    this.#encoding = encoding;
  }

  /** The action as it is described: the same object again as long as no link has changed. */
  action(meaning: Meaning): ObservedAction {
    this.#look();
    let action = this.#actions.get(meaning);
    if (action === undefined) {
      const { event, flags, recursive } = meaning;
      const attributes = {
        [ATTR_FILE_PATH]: this.path,
        ...(flags !== undefined && { [ATTR_AUDIT_FILE_FLAGS]: flags }),
        ...(recursive && { [ATTR_AUDIT_FILE_RECURSIVE]: recursive }),
      };
      action = { event, action: meaning.action, targets: this.#targetsOf(meaning), attributes, memo: new Memo() };
      this.#actions.set(meaning, action);
    }
    return action;
  }

  /** The target that the call names, and the one that it reaches through symbolic links if that is another. */
  targets(access: "read" | "write", onLink = false, recursive = false): Target[] {
    const further = { access, ...(recursive && { recursive }) };
    return this.#names(onLink).map(({ uri }) => ({ type: "file", id: uri, ...further }));
  }

  #targetsOf({ action, onLink, recursive }: Meaning): readonly Target[] {
    // With a single target there are no sides.
    if (recursive !== true && this.#names(onLink).length === 1) return [{ type: "file", id: this.uri }];
    return this.targets(action === "READ" ? "read" : "write", onLink, recursive);
  }

  #names(onLink = false): readonly Name[] {
    this.#look();
    const leadsTo = onLink ? this.#itself : this.#behind;
    return leadsTo === undefined ? [this] : [this, leadsTo];
  }

  #look(): void {
    const now = lookTime();
    if (now === this.#lookedAt) return;
    const place = this.#encoding === "utf8" ? follow(this.raw) : followBytes(this.raw);
    const itself = place?.itself ?? this.resolved;
    const behind = place?.behind ?? this.resolved;
    if (itself !== (this.#itself ?? this).resolved || behind !== (this.#behind ?? this).resolved) {
      this.#actions.clear();
      this.#itself = this.#other(itself);
      this.#behind = this.#other(behind);
    }
    // Last: a look that was cut short, by a stack that was used up, is none.
    this.#lookedAt = now;
  }

  #other(resolved: string): Name | undefined {
    return resolved === this.resolved ? undefined : { resolved, uri: fileUri(resolved, this.#encoding) };
  }
}

const MAX_CACHED = 4096;
/** Longer paths are not kept: Linux opens none above 4,096 bytes, but an application can ask for any. */
const MAX_CACHED_LENGTH = 1024;

const absolutes = new Map<string, FileName>();
/** Of relative paths, in this directory. */
const relatives = new Map<string, FileName>();
let directory = "";

/**
 * The file that a path argument names: a string, bytes or a URL. Undefined for what names none (a file descriptor, a
 * FileHandle, an invalid argument): the original says what is wrong with it.
 */
export function fileName(argument: unknown): FileName | undefined {
  if (typeof argument !== "string") return otherName(argument);
  if (argument === "") return undefined;
  let cache = absolutes;
  let base = "";
  if (argument.charCodeAt(0) !== SLASH) {
    cache = relatives;
    base = workingDirectory();
    if (base !== directory) {
      relatives.clear();
      directory = base;
    }
  }
  let name = cache.get(argument);
  if (name === undefined) {
    name = new FileName(base === "" ? argument : absolute(base, argument));
    // What leads through the working directory is another file after a chdir.
    if (argument.length <= MAX_CACHED_LENGTH && !argument.startsWith("/proc/")) {
      if (cache.size >= MAX_CACHED) cache.clear();
      cache.set(argument, name);
    }
  }
  return name;
}

const SLASH = 47;

function otherName(argument: unknown): FileName | undefined {
  if (typeof argument !== "object" || argument === null) return undefined;
  return types.isUint8Array(argument) ? bytesName(argument) : fileName(urlPath(argument));
}

function bytesName(argument: Uint8Array): FileName | undefined {
  const bytes = Buffer.from(argument.buffer, argument.byteOffset, argument.byteLength);
  if (isUtf8(bytes)) return fileName(bytes.toString());
  const text = bytes.toString("latin1");
  const base = Buffer.from(workingDirectory()).toString("latin1");
  return new FileName(bytes[0] === SLASH ? text : absolute(base, text), "latin1");
}

/** Not resolved: `..` leads elsewhere behind a symbolic link. */
function absolute(base: string, relative: string): string {
  return process.platform === "win32" ? resolve(base, relative) : `${base}/${relative}`;
}

/** This process's own doors in /proc, opened without a look at the disk: `/proc/self/root/etc` is `/etc`. */
const OWN_DOOR = new RegExp(`^/proc/(?:self|thread-self|${process.pid})/(?:task/[^/]+/)?(root|cwd)(?=/|$)`);

function throughProc(path: string): string {
  if (!path.startsWith("/proc/")) return path;
  let inner = path;
  for (let door = OWN_DOOR.exec(inner); door !== null; door = OWN_DOOR.exec(inner)) {
    const rest = inner.slice(door[0].length);
    inner = resolve(`${door[1] === "cwd" ? workingDirectory() : ""}${rest === "" ? "/" : rest}`);
  }
  return inner;
}

/** A directory that was removed is still one to open files from: `../x` is found. */
export function workingDirectory(): string {
  try {
    return process.cwd();
  } catch (error) {
    rethrowOverflow(error);
    try {
      return ownWork(() => readlinkSync("/proc/self/cwd")).replace(/ \(deleted\)$/, "");
    } catch (error) {
      rethrowOverflow(error);
      return "/";
    }
  }
}

/** What needs no percent-encoding in a path. */
const PLAIN = /^\/[\w\-./~+@,=:]*$/;

function fileUri(path: string, encoding: Encoding): string {
  if (PLAIN.test(path)) return `file://${path}`;
  if (encoding === "utf8") return pathToFileURL(path).href;
  return `file://${path.replaceAll(/[^\w\-./~+@,=:]/g, (byte) => `%${byte.charCodeAt(0).toString(16).padStart(2, "0").toUpperCase()}`)}`;
}
