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

/**
 * CPU micros by stage: self times of the main thread's samples, natives (write, copy, hash) with their callers; what other
 * threads used (transposing worker, syncs, garbage collection) is the rest of the process.
 */
export function stagesOf(profile: Profiler.Profile, cpuMicros: number): Record<string, number> {
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
  stages["other threads (transpose, sync, GC)"] = Math.max(0, cpuMicros - busy);
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
