import fs from "node:fs";
import { dirname } from "node:path";

import { rethrowOverflow } from "./intrinsics.ts";
import { ownWork } from "./own-work.ts";
import { wallMs } from "./pristine.ts";

// Taken before anything is patched: looking is no action of the application.
const { lstatSync, readlinkSync, realpathSync } = fs;

/** Where a path leads when its symbolic links are followed. */
export interface Place {
  /** All but the last step followed: what is acted on by a call that acts on a link itself (unlink, rename). */
  readonly itself: string;
  /** All followed, also through links that lead to nothing yet: what is opened. */
  readonly behind: string;
}

/** What Linux allows in one path. */
const MAX_LINKS = 40;
const MAX_PATH = 4096;
const MAX_KEPT = 4096;
const SLASH = 47;
const NO_THROW = { throwIfNoEntry: false } as const;
/** The link text of what has no path, in /proc/self/fd. */
const NO_PATH = /^(?:pipe|socket|anon_inode|net|mnt|user|pid|uts|ipc|cgroup|time):/;

const kept = new Map<string, string>();
let keptAt = 0;

/**
 * When a look at the links was taken. An answer holds for the same millisecond (a program that runs `ln` takes longer)
 * and until this process itself has moved or linked something, so that a program in a loop does not pay for every call.
 */
export function lookTime(): number {
  const now = wallMs();
  if (now !== keptAt) {
    kept.clear();
    keptAt = now;
    moved = 0;
  }
  return now + moved;
}

/** A part of the millisecond: moves within it make answers old. */
let moved = 0;

/** To be called when something was linked or moved. */
export function forgetLinks(): void {
  kept.clear();
  moved += 1 / 4096;
}

/**
 * Undefined where it cannot be told, and the path is taken as it is.
 * @param raw absolute, with its `..`: behind a link they lead elsewhere
 */
export function follow(raw: string): Place | undefined {
  if (process.platform === "win32" || raw.length > MAX_PATH || raw.includes("\0")) return undefined;
  return ownWork(() => look(raw));
}

/** The absolute path with its links followed. */
export function realPath(path: string): string {
  forgetLinks();
  return follow(path)?.behind ?? path;
}

/** The same for a path of bytes that are not UTF-8, a character a byte. Such files are rare, those that are links more so. */
export function followBytes(raw: string): Place | undefined {
  try {
    const behind = ownWork(() => realpathSync.native(Buffer.from(raw, "latin1"), { encoding: "buffer" })).toString(
      "latin1",
    );
    return { itself: behind, behind };
  } catch (error) {
    rethrowOverflow(error);
    return undefined;
  }
}

function look(raw: string): Place {
  let end = raw.length;
  while (end > 1 && raw.charCodeAt(end - 1) === SLASH) end--;
  const path = end === raw.length ? raw : raw.slice(0, end);
  const slash = path.lastIndexOf("/");
  const base = path.slice(slash + 1);
  if (base === "" || base === "." || base === "..") {
    const behind = real(path, 0);
    return { itself: behind, behind };
  }
  const parent = real(path.slice(0, slash), 0);
  const itself = inside(parent, base);
  const behind = behindLink(itself, parent, 0);
  // A slash at the end asks for the directory behind a link.
  return { itself: end === raw.length ? itself : behind, behind };
}

function real(raw: string, links: number): string {
  if (raw === "" || raw === "/") return "/";
  const known = kept.get(raw);
  if (known !== undefined) return known;
  const slash = raw.lastIndexOf("/");
  const base = raw.slice(slash + 1);
  const parent = real(raw.slice(0, slash), links);
  let path = parent;
  if (base === "..") path = dirname(parent);
  else if (base !== "" && base !== ".") path = behindLink(inside(parent, base), parent, links);
  if (kept.size >= MAX_KEPT) kept.clear();
  kept.set(raw, path);
  return path;
}

function behindLink(path: string, parent: string, links: number): string {
  const to = links < MAX_LINKS ? linkText(path) : undefined;
  return to === undefined ? path : real(to.startsWith("/") ? to : `${parent}/${to}`, links + 1);
}

function inside(directory: string, name: string): string {
  return directory === "/" ? `/${name}` : `${directory}/${name}`;
}

function linkText(path: string): string | undefined {
  try {
    if (lstatSync(path, NO_THROW)?.isSymbolicLink() !== true) return undefined;
    const to = readlinkSync(path);
    return NO_PATH.test(to) ? undefined : to;
  } catch (error) {
    rethrowOverflow(error);
    // Not allowed to look: then the call cannot follow it either.
    return undefined;
  }
}
