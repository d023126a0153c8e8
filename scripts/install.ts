import { spawnSync, type SpawnSyncOptions } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

/**
 * Installs what a folder's own lock file says, once: packages that only some runs need stay out of the workspace.
 * @param folder relative to the repository, with package.json and package-lock.json
 * @returns the folder's absolute path
 */
export function install(folder: string): string {
  const cwd = join(root, folder);
  const stampFile = join(cwd, "node_modules/.otel-audit-install");
  const lock = readFileSync(join(cwd, "package-lock.json"));
  const stamp = createHash("sha256").update(`${process.platform} ${process.arch}`).update(lock).digest("hex");
  if (existsSync(stampFile) && readFileSync(stampFile, "utf8") === stamp) return cwd;
  process.stderr.write(`installing ${folder}\n`);
  const args = ["ci", "--no-audit", "--no-fund", "--loglevel=error"];
  const npm = process.env["npm_execpath"];
  const options: SpawnSyncOptions = { cwd, stdio: ["ignore", "ignore", "inherit"] };
  const { status } = npm
    ? spawnSync(process.execPath, [npm, ...args], options)
    : spawnSync("npm", args, { ...options, shell: process.platform === "win32" });
  if (status !== 0) throw new Error(`npm ci failed in ${folder} (exit code ${status})`);
  writeFileSync(stampFile, stamp);
  return cwd;
}
