import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";

import { expect, test } from "vitest";

import { tempDir } from "../../../../test/support/index.ts";
import { mayBeAlive, thisOwner } from "./owner.ts";

const owner = thisOwner({}, { name: "test", version: "0" });

test("a process is alive, until it is another one with the same id", () => {
  const folder = tempDir("owner");
  expect(mayBeAlive(owner, folder)).toBe(true);
  expect(mayBeAlive({ ...owner, started: "1" }, folder)).toBe(process.platform !== "linux");
  expect(mayBeAlive({ ...owner, pid: 2 ** 22 + 1 }, folder)).toBe(false);
});

// Only Linux tells the state of a process; elsewhere a zombie is taken for alive.
test.runIf(process.platform === "linux")("a zombie is dead", async () => {
  // The shell becomes a program that never waits for its child.
  const parent = spawn("sh", ["-c", "sleep 0.01 & echo $!; exec sleep 60"], { stdio: ["ignore", "pipe", "ignore"] });
  try {
    const [line]: unknown[] = await once(parent.stdout, "data");
    const pid = Number(String(line).trim());
    await expect.poll(() => /\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"))).toBe(true);
    process.kill(pid, 0);
    const started = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ")[19];
    expect(mayBeAlive({ ...owner, pid, started }, tempDir("owner"))).toBe(false);
  } finally {
    parent.kill("SIGKILL");
  }
});
