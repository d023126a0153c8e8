// `npm run soak:kill [kills]`: kill -9 at random moments of a process that acts all the time. What a second observer saw (an
// HTTP server, the file system) has a record, one, of the right agent; what a record calls a success was seen.
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

import { shipSpool } from "@otel-audit/instrumentation-node";

import { startApp } from "../apps/trail.ts";
import { closeServer, listen } from "../support/listen.ts";
import { startOtlpSink, tempDir, type OtlpSink, type SinkSpan } from "../support/index.ts";

interface KillSoak {
  readonly killed: number;
  readonly seen: number;
  /** Records of actions of the application, by outcome. */
  readonly recorded: Readonly<Record<string, number>>;
  /** What is wrong, a line each. */
  readonly problems: readonly string[];
}

/** From the first action to the kill, at most; most lives are short. */
const LIFE_MS = 1000;
/** A process that is killed while it starts. */
const EARLY_EVERY = 10;
const START_MS = 500;

/** What each action's records say, by the action's name. */
type Records = Map<string, { readonly id: string; readonly actor: string; readonly outcome: string }[]>;

export async function soakKill(kills: number): Promise<KillSoak> {
  const seen = new Set<string>();
  const records: Records = new Map();
  const spoolDir = tempDir("kill-spool");
  const server = createServer((request, response) => {
    seen.add((request.url ?? "").slice(1));
    response.end();
  });
  const api = `http://127.0.0.1:${await listen(server)}`;
  await using sink = await startOtlpSink({ headers: { "otel-audit-collector": "test" } });
  try {
    for (let run = 0; run < kills; run++) {
      const files = tempDir("kill-files");
      mkdirSync(files, { recursive: true });
      const early = run % EARLY_EVERY === EARLY_EVERY - 1;
      await killOne({ DIR: files, API: api, RUN: `r${run}` }, sink.url, spoolDir, early);
      for (const name of readdirSync(files)) seen.add(name);
      rmSync(files, { recursive: true });
      keep(sink, records);
    }
    const { left } = await shipSpool(spoolDir, { endpoint: sink.url, timeoutMs: 60_000 });
    keep(sink, records);
    const problems = compare(seen, records);
    if (left > 0) problems.push(`${left} records are left in the spool`);
    const recorded: Record<string, number> = {};
    for (const [{ outcome } = { outcome: "none" }] of records.values())
      recorded[outcome] = (recorded[outcome] ?? 0) + 1;
    return { killed: kills, seen: seen.size, recorded, problems };
  } finally {
    await closeServer(server);
  }
}

async function killOne(
  env: Readonly<Record<string, string>>,
  endpoint: string,
  spoolDir: string,
  early: boolean,
): Promise<void> {
  await using app = await startApp("../soak/kill-app.mjs", { service: "killed", env }, endpoint, spoolDir);
  if (!early) await app.waitForLine("acting");
  await sleep(early ? Math.random() * START_MS : Math.random() ** 3 * LIFE_MS);
  await app.kill("SIGKILL");
}

function keep(sink: OtlpSink, records: Records): void {
  for (const span of sink.spans) {
    const name = /\/(r\d+_[a-z]+_\d+)$/.exec(text(span, "audit.target.id"))?.[1];
    if (name === undefined) continue;
    const known = records.get(name) ?? [];
    const id = text(span, "audit.record.id");
    // A retry of what was not acknowledged is the same record.
    if (known.some((other) => other.id === id)) continue;
    known.push({ id, actor: text(span, "audit.actor.id"), outcome: text(span, "audit.outcome") });
    records.set(name, known);
  }
  sink.clear();
}

function text(span: SinkSpan, key: string): string {
  const value = span.attributes?.[key];
  return typeof value === "string" ? value : "";
}

function compare(seen: ReadonlySet<string>, records: Records): string[] {
  const problems: string[] = [];
  for (const name of seen) if (!records.has(name)) problems.push(`${name} was seen and has no record`);
  for (const [name, [first, ...more]] of records) {
    if (first === undefined) continue;
    const agent = name.split("_")[1];
    if (more.length > 0) problems.push(`${name} has ${1 + more.length} records`);
    if (first.actor !== `agent:${agent}`) problems.push(`${name} is on record as ${first.actor}'s`);
    if (first.outcome === "success" && !seen.has(name)) problems.push(`${name} is a success that nobody saw`);
  }
  return problems;
}

if (import.meta.main) {
  const started = performance.now();
  const { killed, seen, recorded, problems } = await soakKill(Number(process.argv[2] ?? 500));
  for (const problem of problems.slice(0, 20)) console.log(problem);
  const all = Object.values(recorded).reduce((sum, count) => sum + count, 0);
  console.log(`${killed} killed, ${seen} seen, ${all} recorded ${JSON.stringify(recorded)}`);
  console.log(`${problems.length} problems, ${Math.round((performance.now() - started) / 1000)} s`);
  process.exitCode = problems.length === 0 ? 0 : 1;
}
