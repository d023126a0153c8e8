// What tests need that npm does not install: made once, from other package registries, and kept beside node_modules.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const cache = fileURLToPath(new URL("../node_modules/.cache/otel-audit/", import.meta.url));
/** Where Go's own installer puts it, for a PATH that does not have it. */
const GO_DEFAULT = "/usr/local/go/bin/go";

/** What stands in the way, for the output of a run that goes without. */
export interface Missing {
  readonly path?: undefined;
  readonly reason: string;
}

/** Where something is kept that follows from these files, on this platform. */
export function cachedPath(name: string, files: readonly string[]): string {
  const hash = createHash("sha256").update(`${process.platform} ${process.arch}`);
  for (const file of files) hash.update(readFileSync(file));
  const path = join(cache, `${name}-${hash.digest("hex").slice(0, 12)}`);
  mkdirSync(dirname(path), { recursive: true });
  return path;
}

/** The command of the Go toolchain; undefined without one. */
export function findGo(): string | undefined {
  return ["go", GO_DEFAULT].find((go) => starts(go, "version"));
}

/** Whether a program is there and does what it is asked. */
export function starts(program: string, ...args: readonly string[]): boolean {
  return spawnSync(program, args, { stdio: "ignore" }).status === 0;
}

/**
 * Runs a program to its end.
 *
 * @throws Error with the end of what it said
 */
export function run(program: string, args: readonly string[], cwd: string): void {
  const { status, stderr, error } = spawnSync(program, args, {
    cwd,
    encoding: "utf8",
    stdio: ["ignore", "ignore", "pipe"],
    maxBuffer: 1 << 26,
  });
  if (status !== 0) throw new Error(`${program} ${args.join(" ")} failed: ${error?.message ?? stderr.slice(-4_000)}`);
}

/** Calls with an empty folder that is gone afterwards. */
export function inTemporaryFolder(work: (folder: string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), "otel-audit-build-"));
  try {
    work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
