import { mkdirSync, realpathSync, rmdirSync } from "node:fs";
import { join } from "node:path";

import { afterEach, expect, test } from "vitest";

import { tempDir } from "../../../../../test/support/index.ts";
import { fileName } from "./paths.ts";
import { stablePath } from "./stable.ts";

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
  // Names that are not UTF-8 stay apart.
  [Buffer.from("/a/../b\xff\xfe", "latin1"), "file:///b%FF%FE"],
  [Buffer.from("/b\xff\xfd", "latin1"), "file:///b%FF%FD"],
  [Object.defineProperty(Buffer.from("/secret"), "byteLength", { value: 2 }), "file:///secret"],
  ["/a\ud800", "file:///a%EF%BF%BD"],
  [new URL("file:///a%20b"), "file:///a%20b"],
  [{ href: "file:///x", protocol: "file:", hostname: "", pathname: "/x" }, "file:///x"],
  [new URL("file:///a%2fb"), undefined],
  [new URL("http://host/a"), undefined],
  [new URL("file://host/a"), undefined],
  ["/a\0b", "file:///a%00b"],
  ["", undefined],
  [7, undefined],
  [undefined, undefined],
  [{}, undefined],
])("%o is %s", (argument, expected) => {
  expect(fileName(stablePath(argument))?.uri).toBe(expected);
});
