import { constants } from "node:fs";

import { EVENT_FILE_CREATE, EVENT_FILE_READ, EVENT_FILE_WRITE } from "@otel-audit/semantic-conventions";

import type { Meaning } from "./paths.ts";

/** What opening with these flags does to the file. */
type OpenMeaning = "read" | "write" | "create";

const { O_ACCMODE, O_APPEND, O_CREAT, O_EXCL, O_TRUNC } = { O_ACCMODE: 3, ...constants };

/** Reads the flags of `open`, as text or number. What is not understood counts as writing: the cautious reading. */
function openMeaning(flags: unknown): OpenMeaning {
  if (flags === undefined || flags === null) return "read";
  if (typeof flags === "number") {
    if ((flags & O_CREAT) !== 0 && (flags & O_EXCL) !== 0) return "create";
    return (flags & O_ACCMODE) === 0 && (flags & (O_TRUNC | O_CREAT | O_APPEND)) === 0 ? "read" : "write";
  }
  if (typeof flags !== "string") return "write";
  if (flags === "r" || flags === "rs" || flags === "sr") return "read";
  return flags.includes("x") ? "create" : "write";
}

const OPENED = {
  read: { event: EVENT_FILE_READ, action: "READ" },
  write: { event: EVENT_FILE_WRITE, action: "WRITE" },
  // What must not be there is not looked for behind a link.
  create: { event: EVENT_FILE_CREATE, action: "CREATE", onLink: true },
} as const;

const MAX_KEPT = 256;
const kept = new Map<unknown, Meaning>();

/** The same object for the same flags. */
export function meaningOfFlags(flags: unknown): Meaning {
  let meaning = kept.get(flags);
  if (meaning === undefined) {
    meaning = { ...OPENED[openMeaning(flags)], flags: flagsText(flags) };
    if (kept.size < MAX_KEPT && typeof flags !== "object") kept.set(flags, meaning);
  }
  return meaning;
}

/** The flags for the record's `audit.file.flags`. */
function flagsText(flags: unknown): string {
  if (typeof flags === "number") return `0${flags.toString(8)}`;
  return typeof flags === "string" ? flags.slice(0, 16) : typeof flags;
}
