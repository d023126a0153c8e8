import * as fs from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

import {
  AUDIT_ACTION_VALUE_READ,
  EVENT_FILE_COPY,
  EVENT_FILE_DELETE,
  EVENT_FILE_RENAME,
} from "@otel-audit/semantic-conventions";

import type { ObservedAction, Target } from "./audit.ts";

/** Rule id of the built-in deny, and kind of its alarm. */
export const OWN_FILES_RULE = "own_files";

/** What belongs to the audit. All absolute. */
interface OwnPaths {
  readonly policyFile?: string | undefined;
  readonly spoolDir: string;
  /** The data directory of a collector on this machine: log, keys, database. */
  readonly dataDir: string;
}

/** As many symbolic links are followed from the policy's path to its file. */
const MAX_LINKS = 16;
/** File systems that take `A` for `a`. */
const FOLDS_CASE = process.platform === "win32" || process.platform === "darwin";

const { existsSync, lstatSync, readlinkSync, realpathSync } = fs;
const QUIETLY = { throwIfNoEntry: false } as const;

/**
 * The audit's own files: the policy it judges by, the records that wait, and a collector's log and keys. No application
 * has business with them, so what would change them is denied in every mode; reading them is recorded, but for keys,
 * which are not to be read either.
 */
export class OwnFiles {
  readonly #paths: OwnPaths;
  /** Ids of files and directories of ours. */
  #own: readonly string[] = [];
  /** The same with a slash, to compare what is inside. */
  #inside: readonly string[] = [];
  readonly #keys: string;

  constructor(paths: OwnPaths) {
    this.#paths = paths;
    this.#keys = `${idOf(paths.dataDir)}/keys`;
    this.refresh();
  }

  /** Follows the symbolic links on the way to our files again, after the policy was changed. */
  refresh(): void {
    const { policyFile, spoolDir, dataDir } = this.#paths;
    const paths = [...(policyFile === undefined ? [] : links(policyFile)), ...links(spoolDir), ...links(dataDir)];
    this.#own = [...new Set(paths.map(idOf))];
    this.#inside = this.#own.map((id) => `${id}/`);
  }

  /** Every file and directory of ours, as targets name them. */
  get ids(): readonly string[] {
    return this.#own;
  }

  /** The target by which the action would touch what is ours; undefined when it does not. */
  touchedBy(action: ObservedAction): Target | undefined {
    const { targets } = action;
    const isRead = action.action === AUDIT_ACTION_VALUE_READ;
    for (let index = 0; index < targets.length; index++) {
      const target = targets[index]!;
      if (target.type !== "file") continue;
      const id = FOLDS_CASE ? target.id.toLowerCase() : target.id;
      if (isRead || (target.access === "read" && action.event === EVENT_FILE_COPY)) {
        if (this.#givesKeys(action, target, id)) return target;
      } else if (this.#owns(id) || this.#reaches(action, target, id)) return target;
    }
    return undefined;
  }

  /** Whether what is read are keys, or a directory that is copied with the keys in it. */
  #givesKeys(action: ObservedAction, target: Target, id: string): boolean {
    if (id.startsWith(this.#keys) && isWithin(id, this.#keys)) return true;
    if (target.recursive !== true || action.event !== EVENT_FILE_COPY) return false;
    return this.#keys.startsWith(id.endsWith("/") ? id : `${id}/`) && existsSync(join(this.#paths.dataDir, "keys"));
  }

  #owns(id: string): boolean {
    for (let index = 0; index < this.#own.length; index++) {
      if (id.startsWith(this.#own[index]!) && isWithin(id, this.#own[index]!)) return true;
    }
    return false;
  }

  /** Whether an action on a directory takes what is ours inside of it along. */
  #reaches(action: ObservedAction, target: Target, id: string): boolean {
    const { event } = action;
    if (event !== EVENT_FILE_DELETE && event !== EVENT_FILE_RENAME && target.recursive !== true) return false;
    const directory = id.endsWith("/") ? id : `${id}/`;
    for (let index = 0; index < this.#inside.length; index++) {
      const own = this.#inside[index]!;
      if (!own.startsWith(directory)) continue;
      if (event !== EVENT_FILE_COPY || isInSource(action, own.slice(directory.length, -1))) return true;
    }
    return false;
  }
}

/** A copy into a directory only touches what its source has, too. */
function isInSource(action: ObservedAction, path: string): boolean {
  const sources = action.targets.filter(({ access, type }) => access === "read" && type === "file");
  if (sources.length === 0) return true;
  return sources.some(({ id }) => {
    try {
      return existsSync(fileURLToPath(`${id}/${path}`));
    } catch {
      return true;
    }
  });
}

function isWithin(id: string, own: string): boolean {
  return id.length === own.length || id.charCodeAt(own.length) === 47;
}

function idOf(path: string): string {
  const id = pathToFileURL(path).href.replace(/(?<=.)\/$/, "");
  return FOLDS_CASE ? id.toLowerCase() : id;
}

/** The path, every symbolic link on the way from it to its file, and the file. What is not there has no other name. */
function links(path: string): string[] {
  const paths = [path];
  try {
    // Asked first, as an exception costs as much as the rest of this together, and most are no links.
    let stat = lstatSync(path, QUIETLY);
    for (
      let next = path;
      stat?.isSymbolicLink() === true && paths.length < MAX_LINKS;
      stat = lstatSync(next, QUIETLY)
    ) {
      next = resolve(dirname(next), readlinkSync(next));
      paths.push(next);
    }
    if (stat !== undefined) paths.push(realpathSync(paths.at(-1)!));
  } catch {
    // Not to be looked into, by us neither.
  }
  return paths;
}
