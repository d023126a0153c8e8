import { createHash } from "node:crypto";
import { readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";

/*
 * The engine writes a definition anew for every CREATE OR REPLACE VIEW, and on a full disk it leaves an empty or a cut-off file,
 * with which it never starts again. So statements run only when they are not those that have once run to their end, and
 * what an attempt left is cleared away before the next.
 */

/** Whether these statements have run to their end. */
export function isApplied(engine: string, schema: readonly string[]): boolean {
  try {
    return readFileSync(stateFile(engine), "utf8") === digest(schema);
  } catch {
    return false;
  }
}

export function setApplied(engine: string, schema: readonly string[]): void {
  const file = stateFile(engine);
  try {
    writeFileSync(`${file}.tmp`, digest(schema), { flush: true });
    renameSync(`${file}.tmp`, file);
  } catch {
    // Then the next start repeats the statements.
    rmSync(`${file}.tmp`, { force: true });
  }
}

/**
 * Removes what the statements will write again: the definitions of views, which hold no data, and all of them as long as
 * the engine holds none. No data is touched.
 */
export function clearDefinitions(engine: string, schema: readonly string[]): void {
  const store = find(join(engine, "store"));
  const holdsData = store.some((file) => basename(file) === "columns.txt");
  const views = new Set(schema.flatMap((text) => /^CREATE OR REPLACE VIEW (?:\S+\.)?(\w+)\s/.exec(text)?.[1] ?? []));
  for (const file of [...store, ...find(join(engine, "metadata"))]) {
    const name = basename(file, ".sql");
    // Some are found twice, by the name of their database, too.
    if (file.endsWith(".sql") && (!holdsData || views.has(name))) rmSync(file, { force: true });
  }
}

function find(directory: string): string[] {
  try {
    return readdirSync(directory, { recursive: true, encoding: "utf8" }).map((name) => join(directory, name));
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw error;
  }
}

function stateFile(engine: string): string {
  // Goes with the engine's files, whoever removes them.
  return join(engine, "otel-audit.schema");
}

function digest(schema: readonly string[]): string {
  return createHash("sha256").update(schema.join("\n\n")).digest("hex");
}
