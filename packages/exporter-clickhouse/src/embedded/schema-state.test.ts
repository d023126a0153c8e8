// What a full disk leaves of the engine's definitions must not keep it from starting for ever.
import { readdirSync, rmSync, statSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { createClient } from "@clickhouse/client";
import { expect, it } from "vitest";
import { tempDir } from "../../../../test/support/index.ts";
import { QUIET, traceRow } from "../testing/test-engine.ts";
import { EmbeddedEngine } from "./index.ts";

function definitions(dataDir: string): string[] {
  const store = join(dataDir, "engine", "store");
  const names = readdirSync(store, { recursive: true, encoding: "utf8" });
  return names.filter((name) => name.endsWith(".sql")).map((name) => join(store, name));
}

/** Starts the engine and asks; the definitions are all whole then. */
async function ask(dataDir: string, insert: boolean): Promise<string> {
  const engine = await EmbeddedEngine.start({ dataDir });
  const client = createClient({ ...engine.writer, ...QUIET });
  try {
    if (insert) await client.insert({ table: "otel_traces", values: [traceRow("kept")], format: "JSONEachRow" });
    const query = "SELECT (SELECT count() FROM otel_traces), (SELECT count() FROM audit_events_once)";
    return (await (await client.query({ query, format: "TabSeparated" })).text()).trim();
  } finally {
    await client.close();
    await engine.stop();
  }
}

it("starts after a set-up that a full disk cut off, before there is data and with it", async () => {
  const dataDir = tempDir("definitions");
  await ask(dataDir, false);
  // Of a first set-up anything may be cut off.
  for (const file of definitions(dataDir)) truncateSync(file, statSync(file).size >> 1);
  rmSync(join(dataDir, "engine", "otel-audit.schema"));
  expect(await ask(dataDir, true)).toBe("1\t0");
  // Of a later one only what is written anew: the views.
  const view = definitions(dataDir).find((file) => file.endsWith("audit_events_once.sql"));
  truncateSync(view!, 0);
  rmSync(join(dataDir, "engine", "otel-audit.schema"));
  expect(await ask(dataDir, false)).toBe("1\t0");
});

it("writes no definition again when the schema is the same", async () => {
  const dataDir = tempDir("definitions");
  await ask(dataDir, false);
  const written = definitions(dataDir).map((file) => [file, statSync(file).ino, statSync(file).mtimeMs]);
  await ask(dataDir, false);
  expect(definitions(dataDir).map((file) => [file, statSync(file).ino, statSync(file).mtimeMs])).toEqual(written);
});
