// A policy that cannot be used: nothing may happen, whoever asks.
import { withAgent } from "@otel-audit/instrumentation-node";
import fs from "node:fs";
import { join } from "node:path";
import { Pool } from "pg";

const { API, DATABASE, DIR } = process.env;
if (API === undefined || DATABASE === undefined || DIR === undefined)
  throw new Error("API, DATABASE and DIR are required");
const pool = new Pool({ connectionString: DATABASE, max: 1 });

const actions: Readonly<Record<string, () => unknown>> = {
  fetch: () => fetch(`${API}/allowed`),
  query: () => pool.query("UPDATE orders SET seen = true"),
  write: () => fs.writeFileSync(join(DIR, "file"), "x"),
  mkdir: () => fs.promises.mkdir(join(DIR, "directory")),
};

const heard: Record<string, unknown> = {};
for (const [name, action] of Object.entries(actions)) {
  for (const [who, run] of [
    ["agent", () => withAgent({ id: name }, action)],
    ["nobody", action],
  ] as const) {
    try {
      await run();
      heard[`${name} by ${who}`] = "done";
    } catch (error) {
      heard[`${name} by ${who}`] = error instanceof Error && "rule" in error ? error.rule : String(error);
    }
  }
}
await pool.end();
process.stdout.write(`${JSON.stringify(heard)}\n`);
