// CPU of the whole collector process for a span, beside the official collector: 20% and 100% audit spans, plain and gzip,
// HTTP and gRPC. `--quick` is one short round, `--rounds N` as many (3), `--ours` leaves the peer out; `--profile` shows where our own
// time goes, in a run of its own, because the profiler costs something too. The load, the debug backend and ClickHouse are
// other processes and count for nobody.
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { helpOf, tempDir } from "../test/support/index.ts";
import { startBackend, type Backend } from "./collector/backend.ts";
import { within, type Tell } from "./collector/bounded.ts";
import { openClient, sendAll, type Protocol } from "./collector/client.ts";
import { startDatabase, type Database } from "./collector/database.ts";
import { Requests, SPANS } from "./collector/spans.ts";
import { stagesOf } from "./collector/stages.ts";
import { findPeer, startOurs, type Environment, type Peer, type Subject } from "./collector/subject.ts";
import { cpuByThread, cpuMicros } from "./collector/usage.ts";

helpOf(import.meta.filename);
const { values: options } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    rounds: { type: "string" },
    ours: { type: "boolean", default: false },
    profile: { type: "boolean", default: false },
  },
});
const ROUNDS = Number(options.rounds ?? (options.quick ? 1 : 3));
/** Fewer, and one full collection of the heap more or less is a quarter of the figure. */
const REQUESTS = options.quick ? 200 : 2_000;
/** In each cell, and all of them before the first is measured: the first seconds of a process are the compiler's, in which a collector does not live. */
const WARM_UP = options.quick ? 200 : 1_000;
const PROTOCOLS = ["http", "grpc"] as const;
const CONNECTIONS = 8;
/** Everything has to be where it belongs by then; a segment of ours is open for a second, a batch of the peer's too. */
const ARRIVAL_MS = 60_000;

interface Cell {
  readonly gzip: boolean;
  readonly protocol: Protocol;
}

class Bench {
  readonly #database: Database;
  readonly #backend: Backend;
  readonly env: Environment;

  private constructor(database: Database, backend: Backend) {
    this.#database = database;
    this.#backend = backend;
    this.env = { ...database.env, DEBUG_BACKEND: backend.url };
  }

  static async start(): Promise<Bench> {
    return new Bench(await startDatabase(), await startBackend());
  }

  async stop(): Promise<void> {
    await this.#backend.close();
    await this.#database.stop();
  }

  /** Micros of CPU of these requests a span; undefined for a protocol that the subject does not speak. */
  async measure(subject: Subject, requests: Requests, cell: Cell, count: number): Promise<number | undefined> {
    const url = subject.url(cell.protocol);
    if (url === undefined) return undefined;
    // Never the same twice: ours would know the records from the table, and store no row.
    const compressed = cell.gzip ? await requests.gzipped(count) : undefined;
    let made = 0;
    const next = (): Buffer | undefined => {
      if (made === count) return undefined;
      made++;
      return compressed === undefined ? requests.next() : compressed.pop();
    };
    const client = openClient(cell.protocol, url, cell.gzip, CONNECTIONS);
    try {
      const before = cpuMicros(subject.pid);
      const acknowledged = await this.#arrive(subject, requests, () => sendAll(client, CONNECTIONS, next));
      return (cpuMicros(subject.pid) - before) / (acknowledged * SPANS);
    } finally {
      client.close();
    }
  }

  /** What was acknowledged but is not yet inserted and forwarded belongs to the figure. */
  async #arrive(subject: Subject, requests: Requests, send: () => Promise<number>): Promise<number> {
    const [rows, forwarded] = [await this.#database.rows(subject.table), this.#backend.spans];
    const acknowledged = await send();
    const expected = rows + acknowledged * requests.audit;
    const expectedForwarded = forwarded + acknowledged * (SPANS - requests.audit);
    const deadline = performance.now() + ARRIVAL_MS;
    for (;;) {
      const arrived = await this.#database.rows(subject.table);
      if (arrived === expected && this.#backend.spans === expectedForwarded) return acknowledged;
      if (arrived > expected || performance.now() > deadline) {
        const debug = `${this.#backend.spans} of ${expectedForwarded} debug spans`;
        throw new Error(`${subject.name}: ${arrived} rows instead of ${expected}, ${debug}`);
      }
      await sleep(50);
    }
  }
}

function median(values: readonly (number | undefined)[]): number | undefined {
  const known = values.filter((value) => value !== undefined);
  return known.toSorted((a, b) => a - b)[known.length >>> 1];
}

function figure(micros: number | undefined): string {
  if (micros === undefined) return "not spoken".padStart(24);
  return `${micros.toFixed(2).padStart(8)} µs ${Math.round(1e6 / micros)
    .toLocaleString("en")
    .padStart(9)}/s`;
}

async function compare(peer: Peer | undefined, auditEvery: number, tell: Tell): Promise<void> {
  const requests = new Requests(auditEvery);
  const cells = [false, true].flatMap((gzip) => PROTOCOLS.map((protocol) => ({ gzip, protocol })));
  const sides = [startOurs, ...(peer ? [(env: Environment) => peer.start(env)] : [])];
  const figures: (number | undefined)[][][] = sides.map(() => cells.map(() => []));
  for (let round = 0; round < ROUNDS; round++) {
    for (const [side, start] of sides.entries()) {
      tell(
        `${Math.round(100 / auditEvery)}% audit, round ${round + 1} of ${ROUNDS}, ${side === 0 ? "ours" : "the peer"}`,
      );
      // Beside a full table a start would read the keys of its records, into the first figures.
      const bench = await Bench.start();
      const subject = await start(bench.env);
      try {
        for (const cell of cells) await bench.measure(subject, requests, cell, WARM_UP);
        for (const [at, cell] of cells.entries()) {
          figures[side]![at]!.push(await bench.measure(subject, requests, cell, REQUESTS));
        }
      } finally {
        await subject.stop();
        await bench.stop();
      }
    }
  }
  for (const [at, { gzip, protocol }] of cells.entries()) {
    const [own, other] = figures.map((side) => median(side[at]!));
    const name = `${Math.round(100 / auditEvery)}% audit, ${gzip ? "gzip" : "plain"}, ${protocol}`;
    const ratio = own === undefined || other === undefined ? "" : (own / other).toFixed(2).padStart(6);
    process.stdout.write(`${name.padEnd(24)}${figure(own)}${peer ? `  ${figure(other)}  ${ratio}` : ""}\n`);
  }
}

async function profile(): Promise<void> {
  const bench = await Bench.start();
  const folder = tempDir("bench-profile");
  const subject = await startOurs({ ...bench.env, NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${folder}` });
  const requests = new Requests(5);
  const before = cpuByThread(subject.pid);
  const micros = await bench.measure(subject, requests, { gzip: false, protocol: "http" }, WARM_UP + REQUESTS);
  const threads = cpuByThread(subject.pid);
  await subject.stop();
  await bench.stop();
  for (const [name, used] of Object.entries(before)) threads[name] = (threads[name] ?? 0) - used;
  const spans = (WARM_UP + REQUESTS) * SPANS;
  process.stdout.write(
    `with profiler, plain HTTP, 20% audit, from the first span on: ${micros?.toFixed(2)} µs a span\n`,
  );
  for (const [stage, used] of stagesOf(folder, threads)) {
    process.stdout.write(`  ${stage.padEnd(42)} ${(used / spans).toFixed(3)}\n`);
  }
}

async function run(tell: Tell): Promise<void> {
  if (options.profile) {
    await profile();
  } else {
    const peer = options.ours ? undefined : findPeer();
    process.stdout.write(
      `peer: ${peer?.description ?? "left out"}\n` +
        `${REQUESTS} requests of ${SPANS} spans, ${Math.round(new Requests(5).bytes / SPANS)} bytes a span, ${CONNECTIONS} connections; ` +
        `CPU of the whole process a span, spans a CPU second; median of ${ROUNDS}\n\n` +
        `${"".padEnd(24)}${"ours".padStart(24)}  ${"peer".padStart(24)}   ratio\n`,
    );
    for (const auditEvery of [5, 1]) await compare(peer, auditEvery, tell);
  }
}

// Sixteen figures a round, of which a busy machine takes a minute each.
await within(import.meta.filename, 60 + ROUNDS * 16 * 60, run);
