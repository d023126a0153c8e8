import type { Profiler } from "node:inspector/promises";

/** Which code belongs to which stage; the first that matches. */
const STAGES: readonly [string, RegExp][] = [
  ["scan", /packages\/otlp\/dist\/(?:scan|span-index|check|cursor)/],
  ["slice (debug re-framing)", /packages\/otlp\/dist\/slice/],
  [
    "row (read, encode, hash)",
    /packages\/otlp\/dist\/|packages\/ledger\/dist\/(?:row|typed|attribute|value|nested|record|byte|times|entry|request|judged)|internal\/crypto/,
  ],
  ["window of record keys", /packages\/ledger\/dist\/window/],
  ["log (frames, write, sync)", /packages\/ledger\/dist\/|node:internal\/fs|node:fs/],
  ["insert (HTTP to the engine)", /packages\/exporter-clickhouse\/dist\/|@clickhouse\/client/],
  ["forward (debug spans)", /exporters\/(?:otlphttp|debug-queue)|undici|node:internal\/deps|webstreams/],
  [
    "receive (HTTP)",
    /receivers\/otlp|node:_http|node:internal\/http|node:net|node:internal\/stream|node:internal\/js_stream|node:events|node:buffer|node:internal\/buffer/,
  ],
  ["pipeline", /packages\/collector\/dist\//],
];

/** What the other threads do, by their names. */
const THREADS: Readonly<Record<string, string>> = {
  V8Worker: "garbage collector and compiler threads",
  "libuv-worker": "file system threads (write, sync)",
  "otel-audit-tran": "transposing thread",
  "v8:ProfEvntProc": "the profiler itself",
};

/**
 * CPU micros by stage. Samples of the main thread are taken by the wall clock, also while another process has its core: they
 * give the shares, and what the system counted for the thread gives the sum. Natives (write, copy, hash) count with their
 * callers.
 */
export function stagesOf(profile: Profiler.Profile, threads: Readonly<Record<string, number>>): Record<string, number> {
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
  const parents = new Map(
    profile.nodes.flatMap((node) => (node.children ?? []).map((child) => [child, node.id] as const)),
  );
  const stages: Record<string, number> = {};
  let busy = 0;
  for (const [i, id] of (profile.samples ?? []).entries()) {
    const micros = profile.timeDeltas?.[i] ?? 0;
    const stage = stageOf(id, nodes, parents);
    if (stage === undefined) continue;
    stages[stage] = (stages[stage] ?? 0) + micros;
    busy += micros;
  }
  const scale = (threads["main"] ?? busy) / busy;
  for (const stage of Object.keys(stages)) stages[stage]! *= scale;
  for (const [name, micros] of Object.entries(threads)) {
    if (name !== "main" && micros > 0) stages[THREADS[name] ?? `thread ${name}`] = micros;
  }
  return stages;
}

function stageOf(
  id: number,
  nodes: ReadonlyMap<number, Profiler.ProfileNode>,
  parents: ReadonlyMap<number, number>,
): string | undefined {
  const own = nodes.get(id)!.callFrame;
  if (own.functionName === "(idle)") return undefined;
  if (own.functionName === "(garbage collector)") return "garbage collector (main thread)";
  for (let at: number | undefined = id; at !== undefined; at = parents.get(at)) {
    const { url } = nodes.get(at)!.callFrame;
    const stage = url === "" ? undefined : STAGES.find(([, pattern]) => pattern.test(url));
    if (stage) return stage[0];
  }
  return "runtime (event loop, system calls)";
}
