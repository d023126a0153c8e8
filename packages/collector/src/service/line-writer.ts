import { writeSync } from "node:fs";

/** Bytes of lines that wait; what comes above is dropped. */
const MAX_WAITING = 64 * 1024;
const RETRY_MS = 1_000;

/**
 * Writes lines to a file descriptor before it returns. What cannot be written ends nothing and blocks nobody: while a disk or
 * a pipe is full, or a terminal is gone, lines wait, and are tried again.
 */
export class LineWriter {
  readonly #fd: number;
  readonly #waiting: Buffer[] = [];
  #bytes = 0;
  #retry: NodeJS.Timeout | undefined;

  constructor(fd: number) {
    this.#fd = fd;
  }

  write(line: string): void {
    const bytes = Buffer.from(line);
    this.#waiting.push(bytes);
    this.#bytes += bytes.length;
    this.#flush();
    // Of the first one a part may be written.
    if (this.#bytes > MAX_WAITING && this.#waiting.length > 1) this.#bytes -= this.#waiting.pop()!.length;
  }

  #flush(): void {
    clearTimeout(this.#retry);
    try {
      for (let line = this.#waiting[0]; line; line = this.#waiting[0]) {
        const written = writeSync(this.#fd, line);
        this.#bytes -= written;
        if (written < line.length) this.#waiting[0] = line.subarray(written);
        else this.#waiting.shift();
      }
    } catch {
      this.#retry = setTimeout(() => this.#flush(), RETRY_MS).unref();
    }
  }
}
