// Added cost of an instrumented call: nothing installed, our register (identity, verdict of a policy with 4 globs, intent
// and outcome in the spool), our register with nobody to record, and the official instrumentation (always-on sampler,
// batch processor, OTLP). Records and spans go to the same sink.
//
// What is counted is CPU time of all threads of the measured process, garbage collector and compiler included, over a
// round of calls. What was recorded in a round is sent after it, by both: the official processor's queue is made big enough
// to keep a round's spans, where its default would drop most of them. What the sending costs stands beside it, as "sent".
//
// The machine may be busy with other work, so that neither the clock nor the fastest of many rounds says much. Each variant
// is a process of its own; they take turns in short rounds, and each says how much CPU time its round took. Other work only
// adds to that (caches, memory), so that what counts is a low quantile over the rounds of several such processes. The
// servers are in the measured process and answer with constant bytes: in another process, the kernel's work to wake that up
// costs as much as the call and depends on what else the machine does. They cost the same in every variant.
// Run: node bench/instrumentation.ts [readFileSync readFile.promises readFile http.get fetch pg]

import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import http from "node:http";
import * as net from "node:net";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

interface Targets {
  readonly file: string;
  readonly url: string;
  readonly pgPort: number;
}

/** CPU time in µs of a round of calls, and of sending what they recorded. */
interface Cost {
  readonly calls: number;
  readonly sending: number;
}

type Call = () => unknown;

/** How often a call is made in one round: some 50 ms of it; what is on its way through sockets takes longer to be warm. */
const CALLS = {
  readFileSync: 8000,
  "readFile.promises": 1000,
  readFile: 1000,
  "http.get": 1500,
  fetch: 1000,
  pg: 3000,
};
type Name = keyof typeof CALLS;
const NAMES = ["readFileSync", "readFile.promises", "readFile", "http.get", "fetch", "pg"] as const satisfies Name[];
const VARIANTS = ["bare", "ours", "ours, nobody", "official"] as const;
type Variant = (typeof VARIANTS)[number];
const ROUNDS = 10;
/** Rounds that are not counted: functions are compiled in them. */
const WARM_UP = 4;
/** A round's spans are kept until it is over, and sent then. */
const ROUND_IN_QUEUE = { maxQueueSize: 50_000, maxExportBatchSize: 10_000, scheduledDelayMillis: 600_000 };
/** How often it is done again with new processes, whose memory lies differently. */
const REPEATS = 3;
const QUANTILE = 0.2;

/** Of one call, for each round. */
type Round = Readonly<Record<Variant, Cost>>;

async function compare(wanted: readonly Name[]): Promise<void> {
  const directory = fs.mkdtempSync(join(tmpdir(), "otel-audit-bench-"));
  const file = join(directory, "kb", "1k.txt");
  fs.mkdirSync(join(directory, "kb"));
  fs.writeFileSync(file, "x".repeat(1024));
  fs.writeFileSync(join(directory, "policy.yaml"), policy(directory));
  const sink = await listen(http.createServer(acknowledge));
  console.log("added µs of a call (x: times the bare call)");
  for (const name of wanted.length > 0 ? wanted : NAMES) {
    const rounds: Round[] = [];
    for (let repeat = 0; repeat < REPEATS; repeat++) {
      rounds.push(...(await takeTurns(name, (variant) => start(name, variant, file, sink.port, directory))));
    }
    print(name, rounds);
  }
  sink.server.close();
  fs.rmSync(directory, { recursive: true });
  process.exit(0);
}

async function takeTurns(name: Name, begin: (variant: Variant) => Measured): Promise<Round[]> {
  const processes = VARIANTS.map((variant) => [variant, begin(variant)] as const);
  const rounds: Round[] = [];
  for (let round = -WARM_UP; round < ROUNDS; round++) {
    const costs = new Map<Variant, Cost>();
    // Whoever comes first in a turn may find the machine in another state than who comes last.
    for (const [variant, measured] of round % 2 === 0 ? processes : processes.toReversed()) {
      const { calls: micros, sending } = await measured.round();
      costs.set(variant, { calls: micros / CALLS[name], sending: sending / CALLS[name] });
    }
    const of = (variant: Variant): Cost => costs.get(variant) ?? { calls: Number.NaN, sending: Number.NaN };
    if (round >= 0) {
      rounds.push({ bare: of("bare"), ours: of("ours"), "ours, nobody": of("ours, nobody"), official: of("official") });
    }
  }
  for (const [, measured] of processes) measured.stop();
  return rounds;
}

function print(name: Name, rounds: readonly Round[]): void {
  const cost = (variant: Variant, quantile = QUANTILE, part: keyof Cost = "calls"): number => {
    const sorted = rounds.map((round) => round[variant][part]).toSorted((a, b) => a - b);
    return sorted[Math.floor(sorted.length * quantile)] ?? Number.NaN;
  };
  const bare = cost("bare");
  const cells = VARIANTS.slice(1).map((variant) => {
    const added = cost(variant) - bare;
    const sent = variant === "ours, nobody" ? "" : `, sent +${cost(variant, QUANTILE, "sending").toFixed(2)}`;
    return `${variant} ${added < 0 ? "" : "+"}${added.toFixed(2)} (${((added + bare) / bare).toFixed(2)}x${sent})`;
  });
  const ratio = (...parts: (keyof Cost)[]): string => {
    const [ours, official] = (["ours", "official"] as const).map((variant) =>
      parts.reduce((sum, part) => sum + cost(variant, QUANTILE, part), -bare),
    );
    return ((ours ?? 0) / (official ?? 0)).toFixed(2);
  };
  const noise = cost("bare", 0.5) - bare;
  console.log(
    `${name.padEnd(18)} bare ${bare.toFixed(2)} µs (median +${noise.toFixed(2)}); ${cells.join("; ")}; ` +
      `ours/official added: ${ratio("calls")}, with sending: ${ratio("calls", "sending")}`,
  );
}

function policy(directory: string): string {
  return `policy: bench
mode: enforce
default: allow
resources:
  kb: { file: "${directory}/kb/**" }
  api: { http: "http://127.0.0.1:*/v1/**" }
  tables: { db: "**/public.{orders,customers}" }
  cards: { db: "**/public.cards" }
rules:
  - { id: kb, allow: { agent: "bench-*", action: READ, resource: [kb, api, tables] } }
  - { id: cards, deny: { resource: cards } }
`;
}

/** A process that measures one variant. */
interface Measured {
  round(): Promise<Cost>;
  stop(): void;
}

function start(name: Name, variant: Variant, file: string, sinkPort: number, directory: string): Measured {
  const env: NodeJS.ProcessEnv = {
    ...process.env,
    BENCH_FILE: file,
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${sinkPort}`,
    OTEL_AUDIT_SPOOL_DIR: join(directory, "spool"),
  };
  if (variant === "ours") {
    env["OTEL_AUDIT_AGENT_ID"] = "agent:bench-1";
    env["OTEL_AUDIT_POLICY"] = join(directory, "policy.yaml");
  } else if (variant === "ours, nobody") env["OTEL_AUDIT_UNATTRIBUTED"] = "ignore";
  const register = variant.startsWith("ours") ? ["--import", "@otel-audit/instrumentation-node/register"] : [];
  const child = spawn(process.execPath, [...register, fileURLToPath(import.meta.url), "--measure", name, variant], {
    env,
    stdio: ["ignore", "ignore", "pipe", "ipc"],
  });
  let errors = "";
  child.stderr?.on("data", (chunk) => (errors += chunk));
  const failed = once(child, "exit").then(() => {
    throw new Error(`${name}, ${variant}: ${errors}`);
  });
  // Only of interest while a round is waited for.
  failed.catch(() => {});
  return {
    round: async () => {
      const answer = once(child, "message");
      child.send("round");
      const [cost] = await Promise.race([answer, failed]);
      return cost;
    },
    stop: () => void child.kill(),
  };
}

async function measure(name: Name, variant: Variant): Promise<void> {
  const api = await listen(net.createServer(speakHttp));
  const postgres = await listen(net.createServer(speakPostgres));
  const send = variant === "official" ? startOfficial() : variant === "ours" ? await ourFlush() : async () => {};
  const url = `http://127.0.0.1:${api.port}/v1/x`;
  const call = await calls[name]({ file: process.env["BENCH_FILE"] ?? "", url, pgPort: postgres.port });
  const round = async (): Promise<void> => {
    const start = process.cpuUsage();
    for (let i = 0; i < CALLS[name]; i++) {
      const result = call();
      if (result instanceof Promise) await result;
    }
    const done = process.cpuUsage();
    await send();
    const sent = process.cpuUsage();
    process.send?.({ calls: total(done) - total(start), sending: total(sent) - total(done) } satisfies Cost);
  };
  process.on("message", () => void round());
  process.on("disconnect", () => process.exit());
}

function total({ user, system }: NodeJS.CpuUsage): number {
  return user + system;
}

async function ourFlush(): Promise<() => Promise<unknown>> {
  const { flush } = await import("@otel-audit/instrumentation-node");
  return () => flush();
}

const calls: Readonly<Record<Name, (targets: Targets) => Promise<Call> | Call>> = {
  readFileSync:
    ({ file }) =>
    () =>
      fs.readFileSync(file),
  "readFile.promises":
    ({ file }) =>
    () =>
      fs.promises.readFile(file),
  readFile:
    ({ file }) =>
    () =>
      new Promise((done) => fs.readFile(file, done)),
  "http.get": ({ url }) => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    return () => new Promise((done) => http.get(url, { agent }, (response) => response.resume().on("end", done)));
  },
  fetch:
    ({ url }) =>
    () =>
      fetch(url).then((response) => response.text()),
  pg: async ({ pgPort }) => {
    const { default: pg } = await import("pg");
    const client = new pg.Client({ host: "127.0.0.1", port: pgPort, user: "u", database: "app" });
    await client.connect();
    return () => client.query("SELECT a FROM public.orders WHERE id = 1");
  },
};

/** The official instrumentations, with everything recorded. Returns what sends it. */
function startOfficial(): () => Promise<void> {
  const require = createRequire(import.meta.url);
  const { BatchSpanProcessor, TracerProvider } = require("@opentelemetry/sdk-trace");
  const { OTLPTraceExporter } = require("@opentelemetry/exporter-trace-otlp-proto");
  const { registerInstrumentations } = require("@opentelemetry/instrumentation");
  const { AsyncLocalStorageContextManager } = require("@opentelemetry/context-async-hooks");
  const api = require("@opentelemetry/api");
  const instrumentations = [
    new (require("@opentelemetry/instrumentation-fs").FsInstrumentation)(),
    new (require("@opentelemetry/instrumentation-http").HttpInstrumentation)(),
    new (require("@opentelemetry/instrumentation-undici").UndiciInstrumentation)(),
    new (require("@opentelemetry/instrumentation-pg").PgInstrumentation)(),
  ];
  const provider = new TracerProvider({
    spanProcessors: [new BatchSpanProcessor({ exporter: new OTLPTraceExporter(), ...ROUND_IN_QUEUE })],
  });
  api.context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  api.trace.setGlobalTracerProvider(provider);
  registerInstrumentations({ instrumentations, tracerProvider: provider });
  // Their hooks run when a module is required; they mutate the objects that are imported by default above.
  require("fs");
  require("http");
  return () => provider.forceFlush();
}

function acknowledge(request: http.IncomingMessage, response: http.ServerResponse): void {
  request.resume().on("end", () => response.writeHead(200, { "otel-audit-collector": "bench" }).end());
}

async function listen<S extends net.Server>(server: S): Promise<{ server: S; port: number }> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return { server, port: typeof address === "object" && address !== null ? address.port : 0 };
}

const message = (type: string, ...parts: Buffer[]): Buffer => {
  const body = Buffer.concat(parts);
  const head = Buffer.alloc(5);
  head.write(type, "latin1");
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
};
const int16 = (value: number): Buffer => Buffer.from([value >> 8, value & 255]);
const int32 = (value: number): Buffer => Buffer.from([value >> 24, value >> 16, value >> 8, value]);

const OK = Buffer.from(
  "HTTP/1.1 200 OK\r\nDate: Sun, 22 Nov 2026 03:19:31 GMT\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n" +
    "Content-Length: 2\r\n\r\nok",
);

/** Every request has no body and comes in one piece, after the answer to the one before. */
function speakHttp(socket: net.Socket): void {
  socket.on("data", () => socket.write(OK));
  socket.on("error", () => {});
}

/** As much PostgreSQL as it takes to answer every query with one row, so that the server costs next to nothing. */
function speakPostgres(socket: net.Socket): void {
  const ready = message("Z", Buffer.from("I"));
  const row = Buffer.concat([
    message("T", int16(1), Buffer.from("a\0"), int32(0), int16(0), int32(23), int16(4), int32(-1), int16(0)),
    message("D", int16(1), int32(1), Buffer.from("7")),
    message("C", Buffer.from("SELECT 1\0")),
    ready,
  ]);
  let started = false;
  socket.on("data", (data) => {
    if (!started) socket.write(Buffer.concat([message("R", int32(0)), ready]));
    else if (data[0] === 0x51) socket.write(row);
    started = true;
  });
  socket.on("error", () => {});
}

const named = NAMES.filter((name) => process.argv.includes(name));
const variant = VARIANTS.find((each) => each === process.argv[4]);
if (process.argv[2] !== "--measure") await compare(named);
else if (named[0] !== undefined && variant !== undefined) await measure(named[0], variant);
