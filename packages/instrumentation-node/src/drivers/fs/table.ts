import { constants } from "node:fs";
import { dirname, isAbsolute, join } from "node:path";

import type { AttributeValue } from "@otel-audit/otlp";
import {
  ATTR_AUDIT_FILE_FLAGS,
  ATTR_FILE_PATH,
  type AuditAction,
  EVENT_FILE_CHANGE,
  EVENT_FILE_COPY,
  EVENT_FILE_CREATE,
  EVENT_FILE_DELETE,
  EVENT_FILE_LINK,
  EVENT_FILE_LIST,
  EVENT_FILE_READ,
  EVENT_FILE_RENAME,
  EVENT_FILE_WRITE,
} from "@otel-audit/semantic-conventions";

import type { ObservedAction, Target } from "../../audit.ts";
import { flagsText, openMeaning } from "./flags.ts";
import { fileName, type FileName } from "./paths.ts";
import { property } from "../../unknown.ts";

/** What a call means; undefined when its arguments name no file. */
export type Describe = (args: readonly unknown[]) => ObservedAction | undefined;

/** How a function hands out its result. */
export type Style = "sync" | "callback" | "promise" | "iterable";

/** One row of what is patched: a family of functions (`name`, `nameSync`, `promises.name`) and what they mean. */
export interface Row {
  readonly name: string;
  readonly describe: Describe;
  /** Style of `fs.name`, if it does not call back. */
  readonly plain?: Style;
  /** Style of `fs.promises.name`, if it does not give a promise. */
  readonly promises?: Style;
  /** The call goes on asynchronously through other patched functions: they must be kept quiet (facts: cp, rm). */
  readonly deep?: boolean;
  /** The module loader reads with it. */
  readonly loader?: boolean;
}

/** Every function of `fs` that takes a path and acts. What takes a descriptor was recorded when that was opened. */
export const ROWS: readonly Row[] = [
  { name: "readFile", describe: opened(1, "flag", "r"), loader: true },
  { name: "open", describe: opened(1, undefined, "r"), loader: true },
  { name: "openAsBlob", describe: onPath(EVENT_FILE_READ, "READ"), plain: "promise" },
  { name: "readdir", describe: onPath(EVENT_FILE_LIST, "READ") },
  { name: "opendir", describe: onPath(EVENT_FILE_LIST, "READ") },
  { name: "glob", describe: globbed, promises: "iterable", deep: true },
  { name: "watch", describe: onPath(EVENT_FILE_READ, "READ"), plain: "sync", promises: "iterable" },
  { name: "writeFile", describe: opened(2, "flag", "w") },
  { name: "appendFile", describe: opened(2, "flag", "a") },
  { name: "truncate", describe: onPath(EVENT_FILE_CHANGE, "UPDATE") },
  { name: "mkdir", describe: onPath(EVENT_FILE_CREATE, "CREATE") },
  { name: "mkdtemp", describe: onPath(EVENT_FILE_CREATE, "CREATE") },
  { name: "mkdtempDisposable", describe: onPath(EVENT_FILE_CREATE, "CREATE") },
  { name: "unlink", describe: onPath(EVENT_FILE_DELETE, "DELETE") },
  { name: "rmdir", describe: onPath(EVENT_FILE_DELETE, "DELETE"), deep: true },
  { name: "rm", describe: onPath(EVENT_FILE_DELETE, "DELETE"), deep: true },
  { name: "chmod", describe: onPath(EVENT_FILE_CHANGE, "UPDATE") },
  { name: "lchmod", describe: onPath(EVENT_FILE_CHANGE, "UPDATE") },
  { name: "chown", describe: onPath(EVENT_FILE_CHANGE, "UPDATE") },
  { name: "lchown", describe: onPath(EVENT_FILE_CHANGE, "UPDATE") },
  { name: "utimes", describe: onPath(EVENT_FILE_CHANGE, "UPDATE") },
  { name: "lutimes", describe: onPath(EVENT_FILE_CHANGE, "UPDATE") },
  { name: "copyFile", describe: copied },
  { name: "cp", describe: copied, deep: true },
  { name: "rename", describe: renamed },
  { name: "link", describe: linked(false) },
  { name: "symlink", describe: linked(true) },
];

/** Looked at a file's existence or metadata: only counted. */
export const COUNTED: readonly { readonly name: string; readonly kind: string }[] = [
  ...["stat", "lstat", "statfs"].map((name) => ({ name, kind: "stat" })),
  ...["exists", "access", "realpath", "readlink"].map((name) => ({ name, kind: "exists" })),
];

function onPath(event: string, action: AuditAction): Describe {
  return (args) => {
    const file = fileName(args[0]);
    return file && { event, action, targets: [target(file)], attributes: { [ATTR_FILE_PATH]: file.path } };
  };
}

const OPENED = {
  read: { event: EVENT_FILE_READ, action: "READ" },
  write: { event: EVENT_FILE_WRITE, action: "WRITE" },
  create: { event: EVENT_FILE_CREATE, action: "CREATE" },
} as const;

/**
 * Calls that open: their flags say what they do, `readFile(path, { flag: "w+" })` empties the file.
 * @param at which argument holds the flags, or the options
 * @param option the flags' name in the options; undefined when the argument is the flags themselves
 * @param otherwise the flags by default
 */
function opened(at: number, option: "flag" | undefined, otherwise: string): Describe {
  return (args) => {
    const file = fileName(args[0]);
    if (file === undefined) return undefined;
    const given = args[at];
    let flags: unknown;
    if (option === undefined) flags = typeof given === "function" ? undefined : given;
    else flags = property(given, option);
    const { event, action } = OPENED[openMeaning(flags ?? otherwise)];
    const attributes = { [ATTR_FILE_PATH]: file.path, [ATTR_AUDIT_FILE_FLAGS]: flagsText(flags, otherwise) };
    return { event, action, targets: [target(file)], attributes };
  };
}

/** The copy is what changes; it is the main target. */
function copied(args: readonly unknown[]): ObservedAction | undefined {
  const exclusive = typeof args[2] === "number" && (args[2] & constants.COPYFILE_EXCL) !== 0;
  return between(args, EVENT_FILE_COPY, exclusive ? "CREATE" : "WRITE", (source, copy) => [
    target(copy, "write"),
    target(source, "read"),
  ]);
}

/** The old name goes away too: it is the main target, and written like the new one. */
function renamed(args: readonly unknown[]): ObservedAction | undefined {
  return between(args, EVENT_FILE_RENAME, "UPDATE", (source, renamed) => [
    target(source, "write"),
    target(source, "read"),
    target(renamed, "write"),
  ]);
}

/** @param symbolic what a symbolic link points to is relative to where the link is */
function linked(symbolic: boolean): Describe {
  return (args) => {
    const link = symbolic ? fileName(args[1]) : undefined;
    const [source] = args;
    const beside = link !== undefined && typeof source === "string" && !isAbsolute(source);
    const ends = beside ? [join(dirname(link.path), source), args[1]] : args;
    return between(ends, EVENT_FILE_LINK, "CREATE", (source, link) => [target(link, "write"), target(source, "read")]);
  };
}

function between(
  args: readonly unknown[],
  event: string,
  action: AuditAction,
  sides: (from: FileName, to: FileName) => readonly Target[],
): ObservedAction | undefined {
  const from = fileName(args[0]);
  const to = fileName(args[1]);
  if (from === undefined || to === undefined) return undefined;
  const targets = sides(from, to);
  const attributes: Record<string, AttributeValue> = {
    [ATTR_FILE_PATH]: targets[0]?.id === from.uri ? from.path : to.path,
  };
  return { event, action, targets, attributes };
}

/** A search lists what is below the part of its pattern that is not a pattern. */
function globbed(args: readonly unknown[]): ObservedAction | undefined {
  const cwd = fileName(property(args[1], "cwd"));
  const patterns = (Array.isArray(args[0]) ? args[0] : [args[0]]).filter((pattern) => typeof pattern === "string");
  const files = patterns.flatMap((pattern) => fileName(base(pattern, cwd?.path)) ?? []);
  const first = files[0];
  if (first === undefined) return undefined;
  const attributes = { [ATTR_FILE_PATH]: first.path };
  return { event: EVENT_FILE_LIST, action: "READ", targets: files.map((file) => target(file, "read")), attributes };
}

function base(pattern: string, cwd: string | undefined): string {
  const parts = pattern.split("/");
  const magic = parts.findIndex((part) => /[*?[\]{}()!+@]/.test(part));
  const fixed = (magic === -1 ? parts : parts.slice(0, magic)).join("/");
  if (fixed === "" && pattern.startsWith("/")) return "/";
  return isAbsolute(fixed) ? fixed : join(cwd ?? process.cwd(), fixed);
}

function target(file: FileName, access?: "read" | "write"): Target {
  return access === undefined ? { type: "file", id: file.uri } : { type: "file", id: file.uri, access };
}
