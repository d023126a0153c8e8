// Where the time of a Node process goes, from the profiles that `--cpu-prof` leaves: one for each thread that runs JavaScript.
import { readdirSync, readFileSync } from "node:fs";
import type { Profiler } from "node:inspector/promises";
import { join } from "node:path";

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
  ["transpose (RowBinary to Native)", /packages\/exporter-clickhouse\/dist\/(?:native|transpose)/],
  ["insert (HTTP to the engine)", /packages\/exporter-clickhouse\/dist\/|@clickhouse\/client/],
  ["forward (debug spans)", /exporters\/(?:otlphttp|debug-queue)|undici|node:internal\/deps|webstreams/],
  ["receive (gRPC)", /@grpc\/grpc-js|node:internal\/http2|node:http2/],
  [
    "receive (HTTP)",
    /receivers\/otlp|node:_http|node:internal\/http|node:net|node:internal\/stream|node:internal\/js_stream|node:events|node:buffer|node:internal\/buffer|zlib/,
  ],
  ["pipeline", /packages\/collector\/dist\//],
];

/**
 * Microseconds by stage, largest first. Samples are taken by the wall clock, also while another process has the core: they
 * give the shares, and what the system counted for the process gives the sum. Natives (write, copy, hash) count with their
 * callers.
 *
 * @param folder where the profiles are
 * @param threads what the system counted, by the names of threads
 */
export function stagesOf(folder: string, threads: Readonly<Record<string, number>>): [string, number][] {
  const samples = new Map<string, number>();
  for (const file of readdirSync(folder)) addSamples(samples, readFileSync(join(folder, file), "utf8"));
  const helpers: [string, number][] = [
    ["garbage collector and compiler threads", threads["V8Worker"] ?? 0],
    ["file system threads (write, sync)", threads["libuv-worker"] ?? 0],
  ];
  const profiler = threads["v8:ProfEvntProc"] ?? 0;
  const total = Object.values(threads).reduce((sum, micros) => sum + micros, -profiler);
  const own = total - helpers.reduce((sum, [, micros]) => sum + micros, 0);
  const scale = own / [...samples.values()].reduce((sum, micros) => sum + micros, 0);
  const stages = [...samples].map(([stage, micros]): [string, number] => [stage, micros * scale]);
  return [...stages, ...helpers].toSorted(([, a], [, b]) => b - a);
}

function addSamples(samples: Map<string, number>, json: string): void {
  const profile = JSON.parse(json) as Profiler.Profile;
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
  const parents = new Map(
    profile.nodes.flatMap((node) => (node.children ?? []).map((child) => [child, node.id] as const)),
  );
  for (const [i, id] of (profile.samples ?? []).entries()) {
    const stage = stageOf(id, nodes, parents);
    if (stage !== undefined) samples.set(stage, (samples.get(stage) ?? 0) + (profile.timeDeltas?.[i] ?? 0));
  }
}

function stageOf(
  id: number,
  nodes: ReadonlyMap<number, Profiler.ProfileNode>,
  parents: ReadonlyMap<number, number>,
): string | undefined {
  const own = nodes.get(id)!.callFrame;
  if (own.functionName === "(idle)") return undefined;
  if (own.functionName === "(garbage collector)") return "garbage collector (own threads)";
  for (let at: number | undefined = id; at !== undefined; at = parents.get(at)) {
    const { url } = nodes.get(at)!.callFrame;
    const stage = url === "" ? undefined : STAGES.find(([, pattern]) => pattern.test(url));
    if (stage) return stage[0];
  }
  return "runtime (event loop, system calls)";
}
