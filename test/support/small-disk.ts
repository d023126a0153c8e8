import { execFileSync } from "node:child_process";
import { tempDir } from "./temp-dir.ts";

/** A file system in memory. */
export interface SmallDisk {
  readonly dir: string;
  readonly resize: (size: string) => void;
  readonly remove: () => void;
}

/** @param size as mount takes it: `512k`. Undefined where this process may not mount. */
export function mountSmallDisk(size: string): SmallDisk | undefined {
  const dir = tempDir("disk");
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${size}`, "tmpfs", dir], { stdio: "ignore" });
  } catch {
    return undefined;
  }
  return {
    dir,
    resize: (to) => void execFileSync("mount", ["-o", `remount,size=${to}`, dir]),
    remove: () => void execFileSync("umount", ["-l", dir]),
  };
}
