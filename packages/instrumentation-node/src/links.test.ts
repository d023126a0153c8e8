import { mkdirSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { expect, test } from "vitest";

import { tempDir } from "../../../test/support/index.ts";
import { follow, forgetLinks } from "./links.ts";
import { fileName } from "./drivers/fs/paths.ts";

function sandbox(): string {
  const dir = realpathSync(tempDir("links"));
  mkdirSync(join(dir, "real/deep"), { recursive: true });
  writeFileSync(join(dir, "real/deep/f"), "");
  symlinkSync("real/deep", join(dir, "link"));
  symlinkSync(join(dir, "link"), join(dir, "link2"));
  symlinkSync("none/x", join(dir, "dangling"));
  symlinkSync("loop", join(dir, "loop"));
  forgetLinks();
  return dir;
}

test.each([
  ["real/deep/f", "real/deep/f", "real/deep/f"],
  ["link", "link", "real/deep"],
  ["link/", "real/deep", "real/deep"],
  ["link/f", "real/deep/f", "real/deep/f"],
  ["link2/f", "real/deep/f", "real/deep/f"],
  ["link2/new/newer", "real/deep/new/newer", "real/deep/new/newer"],
  // Not what the text says: the parent of where the link leads.
  ["link/../x", "real/x", "real/x"],
  ["link/..", "real", "real"],
  ["./real/./deep//f", "real/deep/f", "real/deep/f"],
  // What is written there is made behind the link.
  ["dangling", "dangling", "none/x"],
  ["loop", "loop", "loop"],
])("%s is %s, and %s behind its links", (path, itself, behind) => {
  const dir = sandbox();
  expect(follow(`${dir}/${path}`)).toEqual({ itself: join(dir, itself), behind: join(dir, behind) });
});

test("a file has the target that it leads to as another one, until the link is gone", () => {
  const dir = sandbox();
  const uri = (path: string): string => `file://${join(dir, path)}`;
  const ids = (onLink: boolean): string[] =>
    (fileName(`${dir}/link2`)?.targets("read", onLink) ?? []).map((target) => target.id);
  expect(ids(false)).toEqual([uri("link2"), uri("real/deep")]);
  expect(ids(true)).toEqual([uri("link2")]);
  rmSync(join(dir, "link2"));
  writeFileSync(join(dir, "link2"), "");
  forgetLinks();
  expect(ids(false)).toEqual([uri("link2")]);
});

test("an action is described once for as long as its links stay", () => {
  const dir = sandbox();
  const meaning = { event: "file.read", action: "READ" } as const;
  const before = fileName(`${dir}/link/f`)?.action(meaning);
  expect(fileName(`${dir}/link/f`)?.action(meaning)).toBe(before);
  forgetLinks();
  expect(fileName(`${dir}/link/f`)?.action(meaning)).toBe(before);
  rmSync(join(dir, "link"));
  symlinkSync("real", join(dir, "link"));
  forgetLinks();
  expect(
    fileName(`${dir}/link/f`)
      ?.action(meaning)
      .targets.map(({ id }) => id),
  ).toEqual([`file://${dir}/link/f`, `file://${dir}/real/f`]);
});
