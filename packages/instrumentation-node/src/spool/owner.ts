import { randomUUID } from "node:crypto";
import * as fs from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { threadId } from "node:worker_threads";

import type { Attributes } from "@otel-audit/otlp";

import { isObject, property } from "../unknown.ts";
import { wallMs } from "../pristine.ts";

/** Who writes a spool folder: enough to tell later whether it still does, and to send its records as its own. */
export interface Owner {
  readonly format: 1;
  readonly pid: number;
  readonly thread: number;
  /** The thread as a path below /proc (Linux): it may end before its process does. */
  readonly task: string | undefined;
  /** Start time of the thread in clock ticks since boot, where the system tells (Linux): ids are reused. */
  readonly started: string | undefined;
  /** Where `pid` means anything: boot, pid namespace and host. */
  readonly place: string;
  readonly resource: Attributes;
  readonly scope: { readonly name: string; readonly version: string };
}

const OWNER_FILE = "owner.json";
/** A process elsewhere (another container on a shared volume) is taken for dead after this long without a sign of life. */
const FOREIGN_SILENCE_MS = 10 * 60_000;

export function thisOwner(resource: Attributes, scope: Owner["scope"]): Owner {
  const task = link("/proc/thread-self") || undefined;
  return {
    format: 1,
    pid: process.pid,
    thread: threadId,
    task,
    started: taskStat(task ?? String(process.pid)).started,
    place: place(),
    resource,
    scope,
  };
}

/** Makes the folder of an owner inside the spool directory and returns its path. */
export function createFolder(spoolDir: string, owner: Owner, name = `${owner.pid}-${randomUUID()}`): string {
  // Filled under a name that nobody picks up, so that no folder is ever seen without its owner.
  const hidden = join(spoolDir, `.${name}`);
  const folder = join(spoolDir, name);
  fs.mkdirSync(hidden, { mode: 0o700 });
  fs.writeFileSync(join(hidden, OWNER_FILE), JSON.stringify(owner), { mode: 0o600 });
  fs.renameSync(hidden, folder);
  return folder;
}

/** The owner of a folder; undefined when it names none that can be read. */
export function readOwner(folder: string): Owner | undefined {
  try {
    const owner: unknown = JSON.parse(fs.readFileSync(join(folder, OWNER_FILE), "utf8"));
    return isOwner(owner) ? owner : undefined;
  } catch {
    return undefined;
  }
}

function isOwner(value: unknown): value is Owner {
  return (
    property(value, "format") === 1 &&
    Number.isSafeInteger(property(value, "pid")) &&
    typeof property(value, "place") === "string" &&
    isObject(property(value, "resource")) &&
    typeof property(property(value, "scope"), "name") === "string"
  );
}

/** A sign of life, for processes that cannot look at ours. */
export function touchOwner(folder: string): void {
  const now = new Date();
  fs.utimesSync(join(folder, OWNER_FILE), now, now);
}

/** Whether the owner of a folder may still write to it. In doubt it may. */
export function mayBeAlive(owner: Owner, folder: string): boolean {
  if (owner.place !== place()) return wallMs() - modified(folder) < FOREIGN_SILENCE_MS;
  try {
    process.kill(owner.pid, 0);
  } catch (error) {
    return property(error, "code") !== "ESRCH";
  }
  const { state, started } = taskStat(owner.task ?? String(owner.pid));
  if (owner.task !== undefined && state === undefined) return false;
  // A zombie answers signals, and in a container without an init that reaps it does so for ever.
  if (state === "Z" || state === "X") return false;
  return owner.started === undefined || started === owner.started;
}

function modified(folder: string): number {
  try {
    return fs.statSync(join(folder, OWNER_FILE)).mtimeMs;
  } catch {
    return wallMs();
  }
}

function place(): string {
  return [hostname(), readText("/proc/sys/kernel/random/boot_id"), link("/proc/self/ns/pid")].join(" ");
}

/** What Linux tells of a process or thread, a path below /proc; nothing elsewhere. */
function taskStat(task: string): { readonly state: string | undefined; readonly started: string | undefined } {
  // Fields 3 and 22, counted behind the command's closing parenthesis: the command may hold spaces.
  const stat = readText(`/proc/${task}/stat`);
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return { state: fields[0] || undefined, started: fields[19] };
}

function readText(path: string): string {
  try {
    return fs.readFileSync(path, "utf8").trim();
  } catch {
    return "";
  }
}

function link(path: string): string {
  try {
    return fs.readlinkSync(path);
  } catch {
    return "";
  }
}
