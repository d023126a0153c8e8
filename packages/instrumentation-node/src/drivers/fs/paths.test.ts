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
