import { constants } from "node:fs";

/** What opening with these flags does to the file. */
export type OpenMeaning = "read" | "write" | "create";

const { O_ACCMODE, O_APPEND, O_CREAT, O_EXCL, O_TRUNC } = { O_ACCMODE: 3, ...constants };

/** Reads the flags of `open`, as text or number. What is not understood counts as writing: the cautious reading. */
export function openMeaning(flags: unknown): OpenMeaning {
  if (flags === undefined || flags === null) return "read";
  if (typeof flags === "number") {
    if ((flags & O_CREAT) !== 0 && (flags & O_EXCL) !== 0) return "create";
    return (flags & O_ACCMODE) === 0 && (flags & (O_TRUNC | O_CREAT | O_APPEND)) === 0 ? "read" : "write";
  }
  if (typeof flags !== "string") return "write";
  if (flags === "r" || flags === "rs" || flags === "sr") return "read";
  return flags.includes("x") ? "create" : "write";
}

/** The flags for the record's `audit.file.flags`. */
export function flagsText(flags: unknown, otherwise: string): string {
  if (flags === undefined || flags === null) return otherwise;
  if (typeof flags === "number") return `0${flags.toString(8)}`;
  return typeof flags === "string" ? flags.slice(0, 16) : otherwise;
}
