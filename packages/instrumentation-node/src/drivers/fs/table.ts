import fs from "node:fs";
import { dirname, isAbsolute } from "node:path";

import {
  ATTR_AUDIT_FILE_RECURSIVE,
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
} from "@otel-audit/semantic-conventions";

import type { ObservedAction, Target } from "../../audit.ts";
import { rethrowOverflow } from "../../intrinsics.ts";
import { ownWork } from "../../own-work.ts";
import { property } from "../../unknown.ts";
import { meaningOfFlags } from "./flags.ts";
import { fileOfHandle } from "./handles.ts";
import { type FileName, fileName, type Meaning, workingDirectory } from "./paths.ts";

const { constants, lstatSync, statSync } = fs;

/** What a call means; undefined when its arguments name no file. The arguments are stable, see stable.ts. */
type Describe = (args: readonly unknown[], self: unknown) => ObservedAction | undefined;

/** How a function hands out its result. */
export type Style = "sync" | "callback" | "promise" | "iterable";

/** One row of what is patched: a family of functions (`name`, `nameSync`, `promises.name`) and what they mean. */
export interface Row {
  readonly name: string;
  readonly describe: Describe;
  /** How many paths the call takes; they come first. Default 1. */
  readonly paths?: number;
  /** Which argument holds the options, if they say something about the action. */
  readonly options?: number;
  /** Style of `fs.name`, if it does not call back. */
  readonly plain?: Style;
  /** Style of `fs.promises.name`, if it does not give a promise. */
  readonly promises?: Style;
  /** The call goes on asynchronously through other patched functions: they must be kept quiet (facts: cp, rm). */
  readonly deep?: boolean;
  /** The module loader reads with it. */
  readonly loader?: boolean;
  /** Symbolic links may lead elsewhere afterwards. */
  readonly moves?: boolean;
}

const CHANGE: Meaning = { event: EVENT_FILE_CHANGE, action: "UPDATE" };
const CHANGE_LINK: Meaning = { ...CHANGE, onLink: true };
const CREATE: Meaning = { event: EVENT_FILE_CREATE, action: "CREATE", onLink: true };
const DELETE: Meaning = { event: EVENT_FILE_DELETE, action: "DELETE", onLink: true };
const DELETE_ALL: Meaning = { ...DELETE, recursive: true };
const LIST: Meaning = { event: EVENT_FILE_LIST, action: "READ" };
const LIST_ALL: Meaning = { ...LIST, recursive: true };
const READ: Meaning = { event: EVENT_FILE_READ, action: "READ" };
const READ_ALL: Meaning = { ...READ, recursive: true };

/** Every function of `fs` that takes a path and acts. What takes a descriptor was recorded when that was opened. */
export const ROWS: readonly Row[] = [
  { name: "readFile", describe: opened(1, "flag", "r"), options: 1, loader: true },
  { name: "open", describe: opened(1, undefined, "r"), loader: true },
  { name: "openAsBlob", describe: on(READ), plain: "promise" },
  { name: "readdir", describe: below(LIST, LIST_ALL), options: 1 },
  { name: "opendir", describe: below(LIST, LIST_ALL), options: 1 },
  { name: "glob", describe: globbed, paths: 0, options: 1, promises: "iterable", deep: true },
  { name: "watch", describe: below(READ, READ_ALL), options: 1, plain: "sync", promises: "iterable" },
  { name: "watchFile", describe: on(READ), plain: "sync" },
  { name: "writeFile", describe: opened(2, "flag", "w"), options: 2 },
  { name: "appendFile", describe: opened(2, "flag", "a"), options: 2 },
  { name: "truncate", describe: on(CHANGE) },
  { name: "mkdir", describe: on(CREATE) },
  { name: "mkdtemp", describe: on(CREATE) },
  { name: "mkdtempDisposable", describe: on(CREATE) },
  { name: "unlink", describe: on(DELETE), moves: true },
  { name: "rmdir", describe: below(DELETE, DELETE_ALL), options: 1, deep: true, moves: true },
  { name: "rm", describe: below(DELETE, DELETE_ALL), options: 1, deep: true, moves: true },
  { name: "chmod", describe: on(CHANGE) },
  { name: "lchmod", describe: on(CHANGE_LINK) },
  { name: "chown", describe: on(CHANGE) },
  { name: "lchown", describe: on(CHANGE_LINK) },
  { name: "utimes", describe: on(CHANGE) },
  { name: "lutimes", describe: on(CHANGE_LINK) },
  { name: "copyFile", describe: copied, paths: 2 },
  { name: "cp", describe: copied, paths: 2, options: 2, deep: true, moves: true },
  { name: "rename", describe: renamed, paths: 2, moves: true },
  { name: "link", describe: linked(false), paths: 2, moves: true },
  { name: "symlink", describe: linked(true), paths: 2, moves: true },
  { name: "fchmod", describe: byHandle, paths: 0 },
  { name: "fchown", describe: byHandle, paths: 0 },
  { name: "futimes", describe: byHandle, paths: 0 },
  { name: "ftruncate", describe: byHandle, paths: 0 },
];

/** Methods of a FileHandle that change the file itself. */
export const HANDLE_ROWS: readonly Row[] = ["chmod", "chown", "utimes", "truncate"].map((name) => ({
  name,
  describe: (_, self) => byHandle([property(self, "fd")]),
  paths: 0,
}));

/** Looked at a file's existence or metadata: only counted. */
export const COUNTED: readonly { readonly name: string; readonly kind: string }[] = [
  ...["stat", "lstat", "statfs"].map((name) => ({ name, kind: "stat" })),
  ...["exists", "access", "realpath", "readlink"].map((name) => ({ name, kind: "exists" })),
];

export function on(meaning: Meaning): Describe {
  return ([path]) => fileName(path)?.action(meaning);
}

/** Calls that take along what is below if their `recursive` option says so and there is something below. */
function below(meaning: Meaning, all: Meaning): Describe {
  return ([path, options]) => {
    const isAll = Boolean(property(options, "recursive")) && isDirectory(path, meaning.onLink === true);
    return fileName(path)?.action(isAll ? all : meaning);
  };
}

/**
 * Calls that open: their flags say what they do, `readFile(path, { flag: "w+" })` empties the file.
 * @param at which argument holds the flags, or the options
 * @param option the flags' name in the options; undefined when the argument is the flags themselves
 * @param otherwise the flags by default
 */
function opened(at: number, option: "flag" | undefined, otherwise: string): Describe {
  const usual = meaningOfFlags(otherwise);
  return (args) => {
    const file = fileName(args[0]);
    if (file === undefined) return undefined;
    const given = args[at];
    let flags: unknown;
    if (option === undefined) flags = typeof given === "function" ? undefined : given;
    else flags = property(given, option);
    // As `fs` has it: `{ flag: 0 }` of writeFile is the default, not O_RDONLY.
    return file.action(flags ? meaningOfFlags(flags) : usual);
  };
}

function byHandle([fd]: readonly unknown[]): ObservedAction | undefined {
  return fileOfHandle(fd)?.action(CHANGE);
}

/** The copy is what changes; it is the main target. */
function copied(args: readonly unknown[]): ObservedAction | undefined {
  const exclusive = typeof args[2] === "number" && (args[2] & constants.COPYFILE_EXCL) !== 0;
  const dereference = Boolean(property(args[2], "dereference"));
  const all = Boolean(property(args[2], "recursive")) && isDirectory(args[0], !dereference);
  return between(args, EVENT_FILE_COPY, exclusive ? "CREATE" : "WRITE", (source, copy) => [
    ...copy.targets("write", false, all),
    ...source.targets("read", false, all),
  ]);
}

/** The old name goes away too: it is the main target, and written like the new one. */
function renamed(args: readonly unknown[]): ObservedAction | undefined {
  const all = isDirectory(args[0], true);
  return between(args, EVENT_FILE_RENAME, "UPDATE", (source, renamed) => [
    ...source.targets("write", true, all),
    ...source.targets("read", true, all),
    ...renamed.targets("write", true, all),
  ]);
}

/** @param symbolic what a symbolic link points to is relative to where the link is */
function linked(symbolic: boolean): Describe {
  return (args) => {
    const link = symbolic ? fileName(args[1]) : undefined;
    const source = args[0] instanceof Uint8Array ? Buffer.from(args[0]).toString() : args[0];
    const beside = link !== undefined && typeof source === "string" && !isAbsolute(source);
    const ends = beside ? [`${dirname(link.raw)}/${source}`, args[1]] : args;
    return between(ends, EVENT_FILE_LINK, "CREATE", (source, link) => [
      ...link.targets("write", true),
      ...source.targets("read"),
    ]);
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
  return actionOn(event, action, sides(from, to), from, to);
}

/** @param named one of these is the first target */
function actionOn(
  event: string,
  action: AuditAction,
  targets: readonly Target[],
  ...named: readonly FileName[]
): ObservedAction {
  const path = named.find(({ uri }) => uri === targets[0]?.id)?.path ?? "";
  const recursive = targets.some((target) => target.recursive) && { [ATTR_AUDIT_FILE_RECURSIVE]: true };
  return { event, action, targets, attributes: { [ATTR_FILE_PATH]: path, ...recursive } };
}

/** A search lists what is below the part of its pattern that is not a pattern. */
function globbed([patterns, options]: readonly unknown[]): ObservedAction | undefined {
  const directory = fileName(property(options, "cwd"))?.raw ?? workingDirectory();
  const texts = (Array.isArray(patterns) ? patterns : [patterns]).filter((pattern) => typeof pattern === "string");
  const targets: Target[] = [];
  let first: FileName | undefined;
  for (const text of texts) {
    const { base, deep } = split(text);
    const file = fileName(isAbsolute(base) ? base : `${directory}/${base}`);
    first ??= file;
    targets.push(...(file?.targets("read", false, deep) ?? []));
  }
  return first && actionOn(EVENT_FILE_LIST, "READ", targets, first);
}

function split(pattern: string): { base: string; deep: boolean } {
  const parts = pattern.split("/");
  const magic = parts.findIndex((part) => /[*?[\]{}()!+@]/.test(part));
  if (magic === -1) return { base: pattern, deep: false };
  const fixed = parts.slice(0, magic).join("/");
  const deep = magic < parts.length - 1 || parts.includes("**");
  return { base: fixed === "" && pattern.startsWith("/") ? "/" : fixed, deep };
}

/** @param itself of a link the link, not what is behind it */
function isDirectory(path: unknown, itself: boolean): boolean {
  try {
    const name = path instanceof Uint8Array ? Buffer.from(path) : (fileName(path)?.raw ?? "");
    const look = itself ? lstatSync : statSync;
    return ownWork(() => look(name, { throwIfNoEntry: false })?.isDirectory() === true);
  } catch (error) {
    rethrowOverflow(error);
    return false;
  }
}
