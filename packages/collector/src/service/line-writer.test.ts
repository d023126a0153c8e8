// Against a pipe that is full until somebody reads it, and descriptors that take nothing.
import { execFileSync } from "node:child_process";
import { closeSync, constants, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { tempDir } from "../../../../test/support/index.ts";
import { LineWriter } from "./line-writer.ts";

/** What a pipe holds; reading an empty one fails with EAGAIN. */
function readAll(fd: number): string {
  const chunk = Buffer.alloc(65_536);
  let text = "";
  try {
    for (;;) text += chunk.toString("utf8", 0, readSync(fd, chunk));
  } catch {
    return text;
  }
}

const line = (i: number): string => `${i} ${"é".repeat(1_500)}\n`;

it("keeps lines for a pipe that is full, whole and in order, and drops what is too much", () => {
  const fifo = join(tempDir("fifo"), "p");
  execFileSync("mkfifo", [fifo]);
  const fd = openSync(fifo, constants.O_RDWR | constants.O_NONBLOCK);
  try {
    const writer = new LineWriter(fd);
    for (let i = 0; i < 1_000; i++) writer.write(line(i));
    let text = readAll(fd);
    writer.write("last\n");
    for (let more = readAll(fd); more !== ""; more = readAll(fd)) {
      text += more;
      writer.write("");
    }
    const lines = text.split(/(?<=\n)/);
    expect(lines.at(-1)).toBe("last\n");
    expect(lines.length).toBeGreaterThan(20);
    expect(lines.length).toBeLessThan(1_000);
    expect(lines.slice(0, -1)).toEqual(lines.slice(0, -1).map((_, i) => line(i)));
  } finally {
    closeSync(fd);
  }
});

it("throws nothing where nothing can be written", () => {
  const fd = openSync("/dev/null", constants.O_RDONLY);
  const writer = new LineWriter(fd);
  expect(() => writer.write("x\n")).not.toThrow();
  closeSync(fd);
});
