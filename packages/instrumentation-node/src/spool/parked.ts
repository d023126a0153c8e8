import * as fs from "node:fs";
import { join } from "node:path";

import { FrameKind, FrameWriter } from "@otel-audit/ledger/frames";

import { endedFrame, type SpoolContents } from "./contents.ts";
import { readIfThere } from "./leftover.ts";

/** Sorts before all others: whoever inherits a folder sends and removes it first, and then the outcomes. */
const NAME = "00000000.frames";
const REWRITE_BYTES = 4 * 1024 * 1024;

/**
 * Intents of actions that outlast the file they were written to. When that file has been sent, what it says of actions
 * still under way is kept here, so that the end of the process finds it.
 */
export class Parked {
  readonly #path: string;
  readonly #sequences = new Set<number>();
  #writer: FrameWriter | undefined;
  #rewriteAt = REWRITE_BYTES;

  constructor(folder: string) {
    this.#path = join(folder, NAME);
  }

  get bytes(): number {
    return this.#writer?.position ?? 0;
  }

  /**
   * Keeps what a file that is about to be removed says of open actions.
   * @param open numbers of what is still under way
   */
  keep(contents: SpoolContents, open: ReadonlySet<number>): void {
    if (open.size === 0 && this.#sequences.size === 0) return;
    for (let i = 0; i < contents.count; i++) {
      const sequence = contents.sequence(i);
      if (contents.isIntent(i)) {
        if (this.#sequences.has(sequence) || !open.has(sequence)) continue;
        this.#writable().appendSync(contents.payload(i), FrameKind.Intent);
        this.#sequences.add(sequence);
      } else if (contents.isEnd(i) && this.#sequences.delete(sequence)) {
        // With the file its outcome goes: without this the intent would look like one of an action without an end.
        this.#writer?.appendSync(endedFrame(sequence));
      }
    }
    if (this.#sequences.size === 0) this.#remove();
    else if (this.bytes > this.#rewriteAt) this.#rewrite();
  }

  close(): void {
    this.#writer?.closeSync();
    this.#writer = undefined;
  }

  #writable(): FrameWriter {
    return (this.#writer ??= FrameWriter.createSync(this.#path));
  }

  #remove(): void {
    if (this.#writer === undefined) return;
    this.close();
    fs.rmSync(this.#path, { force: true });
    this.#rewriteAt = REWRITE_BYTES;
  }

  #rewrite(): void {
    const contents = readIfThere(this.#path);
    if (contents === undefined) return;
    const temporary = `${this.#path}.new`;
    fs.rmSync(temporary, { force: true });
    const writer = FrameWriter.createSync(temporary);
    for (let i = 0; i < contents.count; i++) {
      if (contents.isIntent(i) && this.#sequences.has(contents.sequence(i)))
        writer.appendSync(contents.payload(i), FrameKind.Intent);
    }
    fs.renameSync(temporary, this.#path);
    this.#writer?.closeSync();
    this.#writer = writer;
    this.#rewriteAt = Math.max(REWRITE_BYTES, writer.position * 2);
  }
}
