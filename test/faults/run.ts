// `npm run faults -- [--seed N] [--seconds S] [--faults a,b,c] [--engine embedded|external|both] [--workers N] [--rate N]
// [--keep] [--verbose]`:
// producers with known records send to a real collector while everything around it is broken at random; then the table is
// compared with what was acknowledged. The seed decides what is done and with what; when it meets what is the machine's.
import { helpOf } from "../support/index.ts";
import { cpSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { Book } from "./book.ts";
import { DatabaseProxy } from "./database-proxy.ts";
import { Disk } from "./disk.ts";
import { ALL_FAULTS, calm, rage, unavailable, type World } from "./nemesis.ts";
import { Producer } from "./producer.ts";
import { Random } from "./random.ts";
import { filesLeft, reconcile, type Verdict } from "./reconcile.ts";
import { Records } from "./records.ts";
import { Service } from "./service.ts";
import { Shim } from "./shim.ts";
import { transports } from "./transport.ts";

interface FaultRun {
  readonly seed: number;
  readonly seconds: number;
  readonly faults: readonly string[];
  /** Ends it as soon as every fault was done so often. */
  readonly rounds?: number;
  /** The longest pause between two faults. Default 2000. */
  readonly pauseMs?: number;
  /** Where the database is: in the collector, or behind a proxy. */
  readonly engine: "embedded" | "external";
  readonly workers: number;
  /** New records a second, of all producers. */
  readonly rate: number;
  /** Keeps everything although nothing is wrong. */
  readonly keep?: boolean;
  readonly tell: (line: string) => void;
}

interface FaultReport {
  readonly verdict: Verdict;
  readonly book: Book;
  readonly counts: ReadonlyMap<string, number>;
  /** Faults that can be had here. */
  readonly possible: readonly string[];
  /** What is wrong, a line each; none is what a run is for. */
  readonly problems: readonly string[];
  /** Where everything was kept; undefined when nothing is wrong. */
  readonly kept: string | undefined;
  readonly table: string;
}

/** How long everything may take to come to rest once nothing is broken any more. */
const REST_MS = 180_000;

export async function runFaults(run: FaultRun): Promise<FaultReport> {
  const directory = mkdtempSync(join(realpathSync(tmpdir()), "otel-audit-faults-"));
  const dataDir = join(directory, "data");
  const log = join(dataDir, "log");
  const has = (name: string): boolean => run.faults.includes(name);
  const disk = has("disk-full") ? Disk.mount(dataDir) : undefined;
  mkdirSync(log, { recursive: true });
  const shim = Shim.build(directory, log);
  const proxy = run.engine === "external" ? await DatabaseProxy.start(new Random(run.seed, "proxy")) : undefined;
  const service = await Service.create({ directory, dataDir, workers: run.workers, env: shim?.env ?? {}, proxy });
  const records = new Records(run.seed, has("strange-times"));
  const book = new Book();
  const world: World = { service, log, records, book, shim, disk, proxy, damages: [] };
  const counts = new Map<string, number>();
  const possible = run.faults.filter((fault) => {
    const reason = unavailable(fault, world);
    if (reason !== undefined) run.tell(`not here: ${fault} (${reason})`);
    return reason === undefined;
  });
  try {
    await service.start();
    const started = performance.now();
    const over = (): boolean => performance.now() - started > run.seconds * 1000;
    const producers = makeProducers(run, world);
    let resting = Number.POSITIVE_INFINITY;
    const sending = producers.map((producer) => producer.run(() => performance.now() > resting));
    const { seed, rounds = Number.POSITIVE_INFINITY, pauseMs = 2_000, tell } = run;
    await rage(world, { faults: possible, seed, rounds, pauseMs, until: over, counts, tell });
    // Faults of producers alone take the whole time.
    while (!over() && counts.size === 0) await sleep(100);
    for (const producer of producers) producer.stop();
    resting = performance.now() + REST_MS;
    await calm(world);
    await Promise.all(sending);
    // What a start finds has to be shipped, too.
    await service.collector.down("SIGTERM");
    await calm(world);
    await settle(() => filesLeft(log).length === 0);
    const verdict = await reconcile(world);
    const waiting = producers.reduce((sum, producer) => sum + producer.waiting, 0);
    await service.stop();
    const problems = whatIsWrong(world, verdict, waiting);
    const table = describe(run, world, verdict, counts);
    const kept =
      problems.length > 0 || run.keep === true ? keep(directory, dataDir, disk !== undefined, table) : undefined;
    if (kept === undefined) discard(directory, disk);
    return { verdict, book, counts, possible, problems, kept, table };
  } finally {
    await service.stop();
    await proxy?.stop();
  }
}

function makeProducers(run: FaultRun, world: World): Producer[] {
  const { httpPort, grpcPort } = world.service;
  const has = (name: string): boolean => run.faults.includes(name);
  const habits = {
    cuts: has("cut-connections"),
    rebatches: has("rebatch"),
    duplicates: has("duplicates"),
    conflicts: has("conflicts"),
  };
  const ways = transports({ httpPort, grpcPort });
  const rate = run.rate / ways.length;
  return ways.map((way, number) => new Producer(number, way, world.records, world.book, habits, rate, run.seed));
}

/** True once `done` says so. */
async function settle(done: () => boolean): Promise<boolean> {
  const until = performance.now() + REST_MS;
  while (!done()) {
    if (performance.now() > until) return false;
    await sleep(200);
  }
  return true;
}

function whatIsWrong(world: World, verdict: Verdict, waiting: number): string[] {
  const { book, service, log } = world;
  const { rows, lostAndAlarmed: _lost, doubledAndAlarmed: _doubled, examples, ...zero } = verdict;
  const problems = Object.entries(zero).flatMap(([what, count]) => (count > 0 ? [`${what}: ${count}`] : []));
  if (rows === 0) problems.push("the table is empty: nothing was tested");
  const left = filesLeft(log);
  if (left.length > 0) problems.push(`left in the log: ${left.slice(0, 5).join(", ")}`);
  if (waiting > 0) problems.push(`${waiting} records were never acknowledged`);
  for (const crash of service.crashes) problems.push(`the collector ended by itself: ${crash}`);
  // Nothing here takes rows out of the table.
  for (const { code, message } of service.alarms) if (code === "TABLE_LOST") problems.push(`false alarm: ${message}`);
  problems.push(...book.surprises.map((surprise) => `unexpected answer: ${surprise}`));
  return [...problems, ...examples];
}

/** Out of the memory that goes with this process. */
function keep(directory: string, dataDir: string, mounted: boolean, table: string): string {
  writeFileSync(join(directory, "summary.txt"), table);
  if (mounted)
    cpSync(dataDir, join(directory, "data-kept"), { recursive: true, filter: (file) => !/\/lock\//.test(file) });
  return directory;
}

function discard(directory: string, disk: Disk | undefined): void {
  disk?.unmount();
  rmSync(directory, { recursive: true, force: true });
}

function describe(run: FaultRun, world: World, verdict: Verdict, counts: ReadonlyMap<string, number>): string {
  const { book, service, shim, damages } = world;
  const alarms = new Map<string, number>();
  for (const { code } of service.alarms) alarms.set(code, (alarms.get(code) ?? 0) + 1);
  const failed = shim?.failed;
  const lines: [string, unknown][] = [
    ["run", `seed ${run.seed}, ${run.seconds} s, ${run.engine} engine, ${run.workers} worker(s)`],
    ["sent", `${book.sent} records (${book.conflicts} of them with other content under a taken id)`],
    ["acknowledged", book.acknowledged],
    [
      "requests",
      `${book.requests}: ${book.refusals} refused, ${book.unknown} cut, ${book.unreachable} while nobody listened`,
    ],
    ["sent again", book.retried],
    ["rows", verdict.rows],
    ["lost", verdict.lost],
    ["doubled", verdict.doubled],
    ["invented", verdict.invented],
    ["conflicts not flagged", verdict.unflagged],
    [
      "lost, doubled alarmed",
      `${verdict.lostAndAlarmed}, ${verdict.doubledAndAlarmed} by bits flipped in ${damages.length} files`,
    ],
    ["flips without alarm", verdict.unalarmed],
    ["starts", `${service.starts}, ${service.failedStarts} failed, ${service.blindStarts} without the table`],
    ["ended by itself", service.crashes.length],
    ["disk", failed === undefined ? "" : `${failed.syncs} syncs and ${failed.writes} writes failed`],
    ["faults", list(counts)],
    ["alarms", list(alarms)],
  ];
  return lines.map(([name, value]) => `${name.padEnd(22)} ${String(value)}\n`).join("");
}

function list(counts: ReadonlyMap<string, number>): string {
  const texts = [...counts].map(([name, count]) => `${name} ${count}`);
  return texts.toSorted((a, b) => a.localeCompare(b)).join(", ");
}

if (import.meta.main) {
  helpOf(import.meta.filename);
  const { values } = parseArgs({
    options: {
      seed: { type: "string", default: String(Math.floor(Math.random() * 1e6)) },
      seconds: { type: "string", default: "600" },
      faults: { type: "string", default: ALL_FAULTS.join(",") },
      engine: { type: "string", default: "both" },
      workers: { type: "string", default: "1" },
      rate: { type: "string", default: "1500" },
      keep: { type: "boolean", default: false },
      verbose: { type: "boolean", default: false },
    },
  });
  const faults = values.faults.split(",");
  const unknown = faults.find((fault) => !ALL_FAULTS.includes(fault));
  if (unknown !== undefined) throw new Error(`--faults: "${unknown}" is none of ${ALL_FAULTS.join(", ")}`);
  const engines = (["external", "embedded"] as const).filter((name) => [name, "both"].includes(values.engine));
  const started = performance.now();
  for (const engine of engines) {
    const { table, problems, kept } = await runFaults({
      seed: Number(values.seed),
      seconds: Number(values.seconds) / engines.length,
      faults,
      engine,
      workers: Number(values.workers),
      rate: Number(values.rate),
      keep: values.keep,
      tell: (line) => {
        if (values.verbose || line.startsWith("not here")) {
          console.log(`${((performance.now() - started) / 1000).toFixed(1).padStart(7)} ${line}`);
        }
      },
    });
    console.log(`\n${table}`);
    for (const problem of problems.slice(0, 40)) console.log(problem);
    if (problems.length === 0) console.log("nothing lost, doubled or invented");
    if (kept !== undefined) console.log(`everything was kept in ${kept}`);
    if (problems.length === 0) continue;
    process.exitCode = 1;
    console.log(`again: npm run faults -- --seed ${values.seed} --seconds ${values.seconds} --engine ${engine}`);
  }
  process.exit();
}
