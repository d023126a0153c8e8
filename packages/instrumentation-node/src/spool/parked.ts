import * as fs from "node:fs";
import { join } from "node:path";

import { FrameKind, FrameWriter } from "@otel-audit/ledger/frames";

import { endedFrame, readContents, type SpoolContents } from "./contents.ts";

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
   * @param isOpen whether an action is still under way
   */
  keep(contents: SpoolContents, isOpen: (sequence: number) => boolean): void {
    for (const intent of contents.intents) {
      if (this.#sequences.has(intent.sequence) || !isOpen(intent.sequence)) continue;
      this.#writable().appendSync(intent.payload, FrameKind.Intent);
      this.#sequences.add(intent.sequence);
    }
    for (const sequence of contents.ended) {
      // With the file its outcome goes: without this the intent would look like one of an action without an end.
      if (this.#sequences.delete(sequence)) this.#writer?.appendSync(endedFrame(sequence));
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
    const { intents } = readContents(fs.readFileSync(this.#path));
    const temporary = `${this.#path}.new`;
    fs.rmSync(temporary, { force: true });
    const writer = FrameWriter.createSync(temporary);
    for (const { sequence, payload } of intents) {
      if (this.#sequences.has(sequence)) writer.appendSync(payload, FrameKind.Intent);
    }
    fs.renameSync(temporary, this.#path);
    this.#writer?.closeSync();
    this.#writer = writer;
    this.#rewriteAt = Math.max(REWRITE_BYTES, writer.position * 2);
  }
}
