import * as fs from "node:fs";
import * as path from "node:path";
import { expect, test } from "vitest";
import { startProcess, tempDir } from "../../../test/support/index.ts";
import { DirectoryLock } from "./lock.ts";

const HOLDER = `
  const { DirectoryLock } = await import(process.argv[1]);
  try {
    await DirectoryLock.acquire(process.argv[2]);
    console.log("held");
    setInterval(() => {}, 1000);
  } catch (error) {
    console.log(error.code);
  }
`;

function startHolder(dir: string): ReturnType<typeof startProcess> {
  const module = new URL("lock.ts", import.meta.url).href;
  return startProcess(process.execPath, ["--input-type=module", "-e", HOLDER, module, dir]);
}

test("keeps a second holder out, in this process and in another, until it is released", async () => {
  const dir = tempDir("lock");
  const lock = await DirectoryLock.acquire(dir);
  await expect(DirectoryLock.acquire(dir)).rejects.toMatchObject({
    code: "LOCKED",
    retryable: false,
    message: expect.stringContaining(`${dir} is in use by process ${process.pid};`) as string,
  });
  await using other = await startHolder(dir);
  expect(await other.waitForLine(/./)).toBe("LOCKED");
  await lock.release();
  const again = await DirectoryLock.acquire(dir);
  await again.release();
  expect(fs.readdirSync(path.join(dir, "lock"))).toEqual([]);
});

test("a killed holder leaves nothing that stops the next", async () => {
  const dir = tempDir("lock");
  await using holder = await startHolder(dir);
  expect(await holder.waitForLine(/./)).toBe("held");
  await expect(DirectoryLock.acquire(dir)).rejects.toMatchObject({ code: "LOCKED" });
  await holder.kill("SIGKILL");
  expect(fs.readdirSync(path.join(dir, "lock"))).toHaveLength(1);
  const lock = await DirectoryLock.acquire(dir);
  expect(fs.readdirSync(path.join(dir, "lock"))).toHaveLength(1);
  await lock.release();
});

test("a stopped holder still holds", async () => {
  const dir = tempDir("lock");
  await using holder = await startHolder(dir);
  await holder.waitForLine("held");
  process.kill(holder.pid, "SIGSTOP");
  await expect(DirectoryLock.acquire(dir)).rejects.toMatchObject({ code: "LOCKED" });
  process.kill(holder.pid, "SIGCONT");
});

test("a path longer than a socket's may be", async () => {
  const dir = path.join(tempDir("lock"), "d".repeat(100), "e".repeat(100));
  const lock = await DirectoryLock.acquire(dir);
  await expect(DirectoryLock.acquire(dir)).rejects.toMatchObject({ code: "LOCKED" });
  await lock.release();
  await (await DirectoryLock.acquire(dir)).release();
});

test("of many that come at once one gets it, also over the leftovers of the dead", async () => {
  const dir = tempDir("lock");
  await using dead = await startHolder(dir);
  await dead.waitForLine("held");
  await dead.kill("SIGKILL");
  const results = await Promise.allSettled(Array.from({ length: 8 }, () => DirectoryLock.acquire(dir)));
  const held = results.filter((result) => result.status === "fulfilled");
  expect(held).toHaveLength(1);
  await held[0]!.value.release();
});

test("a directory where no socket can be made is an error that says so", async () => {
  const file = path.join(tempDir("lock"), "file");
  fs.writeFileSync(file, "");
  await expect(DirectoryLock.acquire(file)).rejects.toThrow(/ENOTDIR/);
});
