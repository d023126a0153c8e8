import { mkdirSync, realpathSync, rmdirSync } from "node:fs";
import { join } from "node:path";

import { afterEach, expect, test } from "vitest";

import { tempDir } from "../../../../../test/support/index.ts";
import { fileName } from "./paths.ts";

const before = process.cwd();
afterEach(() => process.chdir(before));

// Elsewhere the system does not say where a removed directory was.
test.runIf(process.platform === "linux")("a relative path has a name even when the working directory is gone", () => {
  const outer = realpathSync(tempDir("paths"));
  const gone = join(outer, "gone");
  mkdirSync(gone);
  process.chdir(gone);
  rmdirSync(gone);
  // Linux opens this: the parent is still there.
  expect(fileName("../secret")?.path).toBe(join(outer, "secret"));
  expect(fileName("x")?.path).toBe(join(gone, "x"));
});

test("the process's own doors in /proc lead to the files behind them", () => {
  const inside = join(realpathSync(tempDir("paths")), "inside");
  mkdirSync(inside);
  for (const self of ["self", "thread-self", String(process.pid), `self/task/${process.pid}`]) {
    expect(fileName(`/proc/${self}/root/etc/passwd`)?.path).toBe("/etc/passwd");
    expect(fileName(`/proc/${self}/root`)?.path).toBe("/");
    expect(fileName(`/proc/${self}/cwd/x`)?.path).toBe(join(before, "x"));
  }
  expect(fileName("/proc/self/root/proc/self/root/a")?.path).toBe("/a");
  process.chdir(inside);
  expect(fileName("/proc/self/cwd/x")?.path).toBe(join(inside, "x"));
  expect(fileName("/proc/self/status")?.path).toBe("/proc/self/status");
  expect(fileName("/proc/self/rootless")?.path).toBe("/proc/self/rootless");
});

test.each<[unknown, string | undefined]>([
  ["/a//b/./c/../d", "file:///a/b/d"],
  [Buffer.from("/a b"), "file:///a%20b"],
  [new URL("file:///a%20b"), "file:///a%20b"],
  [{ href: "file:///x", protocol: "file:", hostname: "", pathname: "/x" }, "file:///x"],
  [new URL("file:///a%2fb"), undefined],
  [new URL("http://host/a"), undefined],
  ["/a\0b", "file:///a%00b"],
  ["", undefined],
  [7, undefined],
  [undefined, undefined],
  [{}, undefined],
])("%o is %s", (argument, expected) => {
  expect(fileName(argument)?.uri).toBe(expected);
});
