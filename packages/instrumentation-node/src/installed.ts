import { existsSync, realpathSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

/**
 * Whether the program could load a package: one is installed where the main file or the working directory would find
 * it. pnpm keeps what only dependencies use in a folder of its own, where npm would put it beside the others.
 */
export function isInstalled(name: string, main = process.argv[1], workingDirectory = process.cwd()): boolean {
  // Plug'n'Play has no folders to look into.
  if (process.versions["pnp"] !== undefined) return true;
  const places = new Set([workingDirectory]);
  if (main !== undefined) for (const path of [main, realPath(main)]) places.add(path).add(dirname(path));
  const folders = new Set(
    [...places].flatMap((place) => createRequire(join(place, "main.js")).resolve.paths(name) ?? []),
  );
  return [...folders].some(
    (folder) => existsSync(join(folder, name)) || existsSync(join(folder, ".pnpm", "node_modules", name)),
  );
}

function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}
