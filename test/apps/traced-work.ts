// Runs after otel-setup.ts: one action in each way, each under a span and an agent of its own. Says what the application can see
// of its own tracing.
import { context, propagation, trace } from "@opentelemetry/api";
import { withAgent } from "@otel-audit/instrumentation-node";
import type * as Fs from "node:fs";
import type * as Http from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";
import type * as Pg from "pg";
import type * as Undici from "undici";
import { asked, sdk } from "./otel-setup.ts";

// As a CommonJS application loads them: what the official instrumentations hook is `require`.
const require = createRequire(import.meta.url);
const fs: typeof Fs = require("fs");
const http: typeof Http = require("http");
const pg: typeof Pg = require("pg");
const undici: typeof Undici = require("undici");

const { API, DATABASE, DIR, STEPS } = process.env;
if (API === undefined || DATABASE === undefined || DIR === undefined)
  throw new Error("API, DATABASE and DIR are required");
const file = (name: string): string => join(DIR, name);
const pool = new pg.Pool({ connectionString: DATABASE, max: 1 });

const steps: Readonly<Record<string, () => Promise<unknown>>> = {
  http: () => new Promise((done) => http.get(`${API}/http`, (response) => response.resume().on("end", done))),
  fetch: async () => (await fetch(`${API}/fetch`, { method: "POST", body: "x" })).text(),
  undici: async () => (await undici.request(`${API}/undici`)).body.text(),
  "not-found": async () => (await fetch(`${API}/missing`)).text(),
  select: () => pool.query("SELECT * FROM orders WHERE id = $1", [1]),
  update: () => new Promise((done) => pool.query("UPDATE orders SET id = 2", done)),
  "failed-select": () => pool.query("SELECT * FROM nowhere").catch(() => undefined),
  write: () => fs.promises.writeFile(file("written.txt"), "hello"),
  "read-sync": async () => fs.readFileSync(file("written.txt")),
  copy: () => new Promise((done) => fs.copyFile(file("written.txt"), file("copy.txt"), done)),
  unlink: async () => fs.unlinkSync(file("copy.txt")),
};

const tracer = trace.getTracer("application");
const seen: Record<string, { readonly active: string; readonly after: string; readonly trace: string }> = {};
const active = (): string => trace.getActiveSpan()?.spanContext().spanId ?? "none";

await tracer.startActiveSpan("workflow", async (workflow) => {
  for (const [name, step] of Object.entries(steps)) {
    if (STEPS !== undefined && !STEPS.split(",").includes(name)) continue;
    await tracer.startActiveSpan(name, async (span) => {
      const before = active();
      await withAgent({ id: `agent:${name}`, workflow: { name: "work", id: "wf-1" } }, step);
      seen[name] = { active: before, after: active(), trace: span.spanContext().traceId };
      span.end();
    });
  }
  workflow.end();
});
await pool.end();

const headers: Record<string, string> = {};
const remote = { traceId: "c".repeat(32), spanId: "d".repeat(16), traceFlags: 0, isRemote: true };
propagation.inject(trace.setSpanContext(context.active(), remote), headers);
const provider: unknown = trace.getTracerProvider();
const tracing = {
  provider: providerName(provider),
  sampler: samplerText(tracer.startSpan("last")),
  propagation: headers,
  fields: propagation.fields(),
  asked,
};
await sdk.shutdown();
process.stdout.write(`${JSON.stringify({ seen, tracing })}\n`);

function providerName(value: unknown): string {
  const delegate =
    typeof value === "object" && value !== null && "getDelegate" in value && typeof value.getDelegate === "function"
      ? (value.getDelegate as () => object)()
      : value;
  return typeof delegate === "object" && delegate !== null ? delegate.constructor.name : String(delegate);
}

/** A span, so that what the sampler decided for it can be told: recording or not, sampled or not. */
function samplerText(span: ReturnType<typeof tracer.startSpan>): string {
  span.end();
  return `${span.constructor.name} recording ${span.isRecording()} flags ${span.spanContext().traceFlags}`;
}
