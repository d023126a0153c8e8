import * as fs from "node:fs";
import { join } from "node:path";

import { scanFrames } from "@otel-audit/ledger/frames";

import { property } from "../unknown.ts";
import { SpoolContents } from "./contents.ts";
import type { Owner } from "./owner.ts";

/** Of files of records. */
export const EXTENSION = ".frames";

/** The folder of a process that died. */
export class Leftover {
  readonly owner: Owner;
  /** Oldest first. */
  readonly paths: readonly string[];
  #ended: Set<number> | undefined;

  constructor(folder: string, owner: Owner) {
    this.owner = owner;
    this.paths = fs
      .readdirSync(folder)
      .filter((name) => name.endsWith(EXTENSION))
      .toSorted()
      .map((name) => join(folder, name));
  }

  /**
   * What one of its files has to send: its records, and what began and never ended in any file. Undefined when somebody
   * removed it.
   */
  read(path: string): SpoolContents | undefined {
    const contents = readIfThere(path);
    if (contents === undefined) return undefined;
    const ended = (this.#ended ??= this.#allEnded());
    const orphans = new Set<number>();
    for (let i = 0; i < contents.count; i++) {
      const sequence = contents.sequence(i);
      if (!contents.isIntent(i) || ended.has(sequence)) continue;
      // The same intent may stand in two files.
      ended.add(sequence);
      orphans.add(i);
    }
    return contents.withOrphans(orphans);
  }

  #allEnded(): Set<number> {
    const ended = new Set<number>();
    for (const path of this.paths) {
      const contents = readIfThere(path);
      if (contents === undefined) continue;
      for (let i = 0; i < contents.count; i++) if (contents.isEnd(i)) ended.add(contents.sequence(i));
    }
    return ended;
  }
}

/** Undefined for a file that is not there. */
export function readIfThere(path: string): SpoolContents | undefined {
  try {
    return new SpoolContents(scanFrames(fs.readFileSync(path)));
  } catch (error) {
    const code = property(error, "code");
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw error;
  }
}
