import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, statfsSync } from "node:fs";

const ROOM = "4g";

/** A file system of its own for a data directory, that can be full. */
export class Disk {
  readonly #directory: string;

  /** Undefined where this user may not mount. */
  static mount(directory: string): Disk | undefined {
    mkdirSync(directory, { recursive: true });
    const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", `size=${ROOM},mode=700`, "faults", directory], {
      stdio: "ignore",
    });
    if (mounted.status !== 0) return undefined;
    // Goes with this process, however that ends.
    const script = `trap '' HUP INT TERM; cat >/dev/null; umount -l "$1"`;
    const guard = spawn("/bin/sh", ["-c", script, "sh", directory], {
      detached: true,
      stdio: ["pipe", "ignore", "ignore"],
    });
    guard.unref();
    if ("unref" in guard.stdin && typeof guard.stdin.unref === "function") guard.stdin.unref();
    return new Disk(directory);
  }

  private constructor(directory: string) {
    this.#directory = directory;
  }

  /** Leaves so many bytes. */
  fill(left: number): void {
    const { blocks, bfree, bsize } = statfsSync(this.#directory);
    // Size 0 would be: without a bound.
    this.#resize(String(Math.max((blocks - bfree) * bsize + left, bsize)));
  }

  free(): void {
    this.#resize(ROOM);
  }

  unmount(): void {
    spawnSync("umount", ["-l", this.#directory], { stdio: "ignore" });
  }

  #resize(size: string): void {
    spawnSync("mount", ["-o", `remount,size=${size}`, this.#directory], { stdio: "ignore" });
  }
}
