// Added cost of an instrumented call: nothing installed, our register (identity, verdict of a policy with 4 globs, record
// in the spool, shipped to a sink), our register with nobody to record, and the official instrumentation (always-on
// sampler, batch processor, OTLP to the same sink). Every measurement in a process of its own.
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

type Call = () => unknown;

/** How often a call is made in one round. */
const CALLS = {
  readFileSync: 20_000,
  "readFile.promises": 4000,
  readFile: 4000,
  "http.get": 1500,
  fetch: 1500,
  pg: 4000,
};
type Name = keyof typeof CALLS;
const NAMES = ["readFileSync", "readFile.promises", "readFile", "http.get", "fetch", "pg"] as const satisfies Name[];
const VARIANTS = ["bare", "ours", "ours, nobody", "official"] as const;
type Variant = (typeof VARIANTS)[number];
const ROUNDS = 5;
/** Processes for each figure, in turn with the others; the fastest round of all counts: noise only adds. */
const REPEATS = 2;

async function compare(wanted: readonly Name[]): Promise<void> {
  const directory = fs.mkdtempSync(join(tmpdir(), "otel-audit-bench-"));
  const file = join(directory, "kb", "1k.txt");
  fs.mkdirSync(join(directory, "kb"));
  fs.writeFileSync(file, "x".repeat(1024));
  fs.writeFileSync(join(directory, "policy.yaml"), policy(directory));
  const api = await listen(http.createServer((_, response) => response.end("ok")));
  const sink = await listen(http.createServer(acknowledge));
  const postgres = await listen(net.createServer(speakPostgres));
  const targets: Targets = { file, url: `http://127.0.0.1:${api.port}/v1/x`, pgPort: postgres.port };
  console.log("added µs of a call (x: times the bare call)");
  for (const name of wanted.length > 0 ? wanted : NAMES) {
    const best = new Map<Variant, number>();
    for (let repeat = 0; repeat < REPEATS; repeat++) {
      for (const variant of VARIANTS) {
        const micros = await run(name, variant, targets, sink.port, directory);
        best.set(variant, Math.min(micros, best.get(variant) ?? Number.POSITIVE_INFINITY));
      }
    }
    print(name, best);
  }
  for (const { server } of [api, sink, postgres]) server.close();
  fs.rmSync(directory, { recursive: true });
  process.exit(0);
}

function print(name: Name, best: ReadonlyMap<Variant, number>): void {
  const bare = best.get("bare") ?? Number.NaN;
  const added = (variant: Variant): number => (best.get(variant) ?? Number.NaN) - bare;
  const cells = VARIANTS.slice(1).map(
    (variant) => `${variant} +${added(variant).toFixed(2)} (${((added(variant) + bare) / bare).toFixed(2)}x)`,
  );
  const ratio = (added("ours") / added("official")).toFixed(2);
  console.log(`${name.padEnd(18)} bare ${bare.toFixed(2)} µs; ${cells.join("; ")}; ours/official added: ${ratio}`);
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

async function run(
  name: Name,
  variant: Variant,
  targets: Targets,
  sinkPort: number,
  directory: string,
): Promise<number> {
  const env: NodeJS.ProcessEnv = {
    ...process.env,
    BENCH_FILE: targets.file,
    BENCH_URL: targets.url,
    BENCH_PG_PORT: String(targets.pgPort),
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
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [output, errors] = ["", ""];
  child.stdout.on("data", (chunk) => (output += chunk));
  child.stderr.on("data", (chunk) => (errors += chunk));
  await once(child, "close");
  const micros = Number(output.trim());
  if (output.trim() === "" || Number.isNaN(micros)) throw new Error(`${name}, ${variant}: ${output}${errors}`);
  return micros;
}

async function measure(name: Name, variant: Variant): Promise<void> {
  if (variant === "official") startOfficial();
  const call = await calls[name](targetsFrom(process.env));
  const rounds: number[] = [];
  for (let round = 0; round <= ROUNDS; round++) {
    const start = performance.now();
    for (let i = 0; i < CALLS[name]; i++) {
      const result = call();
      if (result instanceof Promise) await result;
    }
    // The first round warms up.
    if (round > 0) rounds.push(((performance.now() - start) / CALLS[name]) * 1000);
    // What was recorded goes out between the rounds, as it would between the calls of an agent.
    await new Promise((resume) => setTimeout(resume, 150));
  }
  console.log(Math.min(...rounds));
  process.exit(0);
}

function targetsFrom(env: NodeJS.ProcessEnv): Targets {
  return { file: env["BENCH_FILE"] ?? "", url: env["BENCH_URL"] ?? "", pgPort: Number(env["BENCH_PG_PORT"]) };
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

/** The official instrumentations, with everything recorded and sent. */
function startOfficial(): void {
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
    spanProcessors: [new BatchSpanProcessor({ exporter: new OTLPTraceExporter() })],
  });
  api.context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  api.trace.setGlobalTracerProvider(provider);
  registerInstrumentations({ instrumentations, tracerProvider: provider });
  // Their hooks run when a module is required; they mutate the objects that are imported by default above.
  require("fs");
  require("http");
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
