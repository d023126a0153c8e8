// Writes everything that is made from the registry: `node conventions/generate.ts`. With `--check` it writes nothing and
// exits with 1 if a file is not what the registry says.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { RegistryError } from "./load.ts";
import { emitMarkdown } from "./markdown.ts";
import { loadRegistry } from "./registry.ts";
import { emitTypeScript } from "./typescript.ts";

const SOURCES = "packages/semantic-conventions/src";

/** Every generated file by its path from the project's root. */
export function generate(conventions: string): Map<string, string> {
  const registry = loadRegistry(conventions);
  const files = new Map<string, string>();
  for (const [name, text] of emitTypeScript(registry)) files.set(`${SOURCES}/${name}`, text);
  files.set("docs/semantic-conventions.md", emitMarkdown(registry));
  return files;
}

/** Paths of files under `root` that are missing, differ, or should not be there. */
export function staleFiles(root: string, files: ReadonlyMap<string, string>): string[] {
  const stale = [...files].filter(([path, text]) => readIfThere(join(root, path)) !== text).map(([path]) => path);
  return [...stale, ...leftovers(root, files)];
}

function leftovers(root: string, files: ReadonlyMap<string, string>): string[] {
  return listIfThere(join(root, SOURCES))
    .map((name) => `${SOURCES}/${name}`)
    .filter((path) => path.endsWith(".ts") && !path.endsWith(".test.ts") && !files.has(path));
}

function readIfThere(path: string): string | undefined {
  return ifThere(() => readFileSync(path, "utf8"));
}

function listIfThere(path: string): string[] {
  return ifThere(() => readdirSync(path)) ?? [];
}

function ifThere<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}

function main(args: readonly string[]): number {
  const unknown = args.find((arg) => arg !== "--check");
  if (unknown !== undefined) {
    console.error(`unknown argument ${unknown}; usage: node conventions/generate.ts [--check]`);
    return 2;
  }
  const conventions = import.meta.dirname;
  const root = dirname(conventions);
  const files = generate(conventions);
  const stale = staleFiles(root, files);
  if (args.includes("--check")) {
    for (const path of stale) console.error(`${path} is stale: run npm run generate`);
    return stale.length > 0 ? 1 : 0;
  }
  for (const path of leftovers(root, files)) rmSync(join(root, path));
  for (const [path, text] of files) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    if (stale.includes(path)) writeFileSync(join(root, path), text);
  }
  return 0;
}

if (import.meta.main) {
  try {
    process.exitCode = main(process.argv.slice(2));
  } catch (error) {
    if (!(error instanceof RegistryError)) throw error;
    console.error(error.message);
    process.exitCode = 1;
  }
}
