// `npm run fuzz -- [--seed N] [--requests N] [--seconds S] [--workers N] [--from N]`: mutated requests against a real
// collector over both protocols. Every request has canaries in it; afterwards each row of the log, and each span that was
// forwarded, has to be of one request. The seed and a number make the same request again.
import { parseArgs } from "node:util";
import { setTimeout as sleep } from "node:timers/promises";
import { decodeTraces } from "@otel-audit/otlp";
import { helpOf, tempDir } from "../support/index.ts";
import { DebugBackend } from "./backend.ts";
import { Canaries } from "./canary.ts";
import { judgeRows, type RowVerdict } from "./rows.ts";
import { Target, type Holdings } from "./target.ts";
import { Traffic } from "./traffic.ts";

interface FuzzRun {
  readonly seed: number;
  /** The number of the first request. Default 0. */
  readonly from?: number;
  readonly requests: number;
  /** No more requests are sent after it. */
  readonly seconds: number;
  readonly workers: number;
  readonly tell: (line: string) => void;
}

interface FuzzReport {
  readonly problems: readonly string[];
  readonly sent: number;
  readonly table: string;
}

/** Requests after which memory is looked at for the first time: until then it is filled for use again. */
const WARM = 0.2;
/** By how much memory may grow from then to the end. */
const GROWTH = 1.25;
const GROWTH_MIB = 64;
/** Fewer requests do not show whether memory grows. */
const LONG = 100_000;
/** The collector closes its side of a connection a second after it refused what came on it. */
const REST_MS = 3_000;

export async function runFuzz({ seed, from = 0, requests, seconds, workers, tell }: FuzzRun): Promise<FuzzReport> {
  const canaries = new Canaries(seed);
  const backend = await DebugBackend.start(canaries, (n) => traffic.bytesOf(n));
  const directory = tempDir("fuzz");
  await using target = await Target.start({ directory, workers, debugUrl: backend.url });
  const { httpPort, grpcUrl, collector } = target;
  let alive = true;
  void collector.process.exited.then(() => (alive = false));
  const started = performance.now();
  const goOn = (): boolean => alive && performance.now() - started < seconds * 1000;
  const traffic: Traffic = new Traffic({ seed, canaries, httpPort, grpcUrl, goOn });
  const fresh = target.holdings;
  const telling = setInterval(() => tell(progress(traffic, started, target.holdings)), 5_000);
  try {
    const warm = from + Math.ceil(requests * WARM);
    await traffic.run(from, warm);
    const before = alive ? target.holdings : fresh;
    await traffic.run(warm, from + requests);
    const elapsed = (performance.now() - started) / 1000;
    clearInterval(telling);
    if (alive) await traffic.askAgain();
    await sleep(REST_MS);
    const after = alive ? target.holdings : fresh;
    const problems = [...traffic.problems, ...target.complaints];
    if (!alive) problems.push(`the collector ended: ${collector.process.stderr.slice(-2_000)}`);
    else await target.stop();
    problems.push(...grown(fresh, before, after, requests));
    const rows = await judgeRows(
      target.dataDir,
      canaries,
      (n) => traffic.bytesOf(n),
      (n) => traffic.acknowledged.has(n),
    );
    problems.push(...rows.problems, ...missing(traffic, rows), ...backend.problems);
    if (rows.rows === 0 || backend.spans === 0) problems.push("nothing was stored, or nothing was forwarded");
    const table = describe({ seed, traffic, rows, backend, elapsed, holdings: [fresh, before, after] });
    return { problems, sent: traffic.sent, table };
  } finally {
    clearInterval(telling);
    await backend.close();
  }
}

function grown(fresh: Holdings, before: Holdings, after: Holdings, requests: number): string[] {
  const problems: string[] = [];
  for (const what of ["sockets", "files", "threads"] as const) {
    // The connections to the debug backend stay; the thread pool fills once.
    const more = after[what] - (what === "threads" ? before : fresh)[what];
    if (more > 8) problems.push(`${more} ${what} more than at the start`);
  }
  const limit = Math.max(before.rssMiB * GROWTH, before.rssMiB + GROWTH_MIB);
  if (requests >= LONG && after.rssMiB > limit) problems.push(`${after.rssMiB} MiB after ${before.rssMiB} MiB`);
  return problems;
}

/** Records of valid requests that were acknowledged and are not in the log once each. */
function missing(traffic: Traffic, { records }: RowVerdict): string[] {
  const problems: string[] = [];
  for (const n of traffic.acknowledged) {
    const most = 1 + (traffic.sentAgain.get(n) ?? 0);
    for (const id of recordIds(traffic.bytesOf(n)!)) {
      const copies = records.get(n)?.get(id) ?? 0;
      if (copies < 1 || copies > most)
        problems.push(`request ${n} was acknowledged, and its record ${id} is stored ${copies} times`);
    }
  }
  return problems;
}

function recordIds(bytes: Uint8Array): string[] {
  const ids: string[] = [];
  for (const { scopeSpans } of decodeTraces(bytes).resourceSpans) {
    for (const { spans } of scopeSpans) {
      for (const { attributes } of spans) {
        const id = attributes?.["audit.record.id"];
        if (typeof id === "string") ids.push(id);
      }
    }
  }
  return ids;
}

function progress({ sent, problems }: Traffic, started: number, { rssMiB }: Holdings): string {
  const elapsed = (performance.now() - started) / 1000;
  return `${elapsed.toFixed(0)} s: ${sent} requests, ${(sent / elapsed).toFixed(0)} a second, ${rssMiB} MiB, ${problems.length} problems`;
}

interface Result {
  readonly seed: number;
  readonly traffic: Traffic;
  readonly rows: RowVerdict;
  readonly backend: DebugBackend;
  readonly elapsed: number;
  readonly holdings: readonly Holdings[];
}

function describe({ seed, traffic, rows, backend, elapsed, holdings }: Result): string {
  const { sent, slowestMs, answers, acknowledged } = traffic;
  const each = (what: keyof Holdings): string => holdings.map((one) => one[what]).join(", ");
  const lines: readonly (readonly [string, unknown])[] = [
    ["seed", seed],
    ["requests", `${sent} in ${elapsed.toFixed(1)} s, ${(sent / elapsed).toFixed(0)} a second`],
    [
      "answers",
      [...answers]
        .toSorted(([a], [b]) => a.localeCompare(b))
        .map(([name, count]) => `${name}: ${count}`)
        .join(", "),
    ],
    ["slowest answer", `${slowestMs.toFixed(0)} ms, with all others under way`],
    ["valid, acknowledged", acknowledged.size],
    ["rows looked at", `${rows.rows}, ${rows.nameless} without a canary left`],
    ["spans forwarded", `${backend.spans} in ${backend.requests} requests, ${backend.nameless} without a canary left`],
    ["MiB resident", `${each("rssMiB")} (at the start, after a fifth, at the end)`],
    ["sockets, files, threads", `${each("sockets")}; ${each("files")}; ${each("threads")}`],
  ];
  return lines.map(([name, value]) => `${name.padEnd(24)} ${String(value)}\n`).join("");
}

if (import.meta.main) {
  helpOf(import.meta.filename);
  const { values } = parseArgs({
    options: {
      seed: { type: "string", default: String(Math.floor(Math.random() * 1e6)) },
      from: { type: "string", default: "0" },
      requests: { type: "string", default: "1000000" },
      seconds: { type: "string", default: "1800" },
      workers: { type: "string", default: "1" },
    },
  });
  const { problems, table } = await runFuzz({
    seed: Number(values.seed),
    from: Number(values.from),
    requests: Number(values.requests),
    seconds: Number(values.seconds),
    workers: Number(values.workers),
    tell: (line) => console.log(line),
  });
  console.log(`\n${table}`);
  for (const problem of problems.slice(0, 40)) console.log(problem);
  console.log(problems.length === 0 ? "nothing is wrong" : `${problems.length} problems`);
  process.exit(problems.length === 0 ? 0 : 1);
}
