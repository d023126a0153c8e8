// CPU of the whole collector process for a span: 20% audit, plain OTLP/HTTP, 512 spans a request, beside a collector of
// objects (decode with protobufjs, JSON lines, JSONEachRow). Then where the collector's own time goes, in a run of its own,
// because the profiler costs something too. The load and the backend run in this process and are not counted.
import { encodeTraces, type SpanData } from "@otel-audit/otlp";
import { fork, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { Agent, request as httpRequest } from "node:http";
import { fileURLToPath } from "node:url";
import { startBackend } from "./collector/backend.ts";
import type { Command, Message, Report } from "./collector/server.ts";

const SPANS = 512;
const REQUESTS = 600;
const WARM_UP = 200;
const CONNECTIONS = 8;
const ROUNDS = 3;

function span(number: number): SpanData {
  const audit = number % 5 === 0;
  const start = BigInt(Date.now()) * 1_000_000n;
  return {
    traceId: randomBytes(16).toString("hex"),
    spanId: randomBytes(8).toString("hex"),
    parentSpanId: randomBytes(8).toString("hex"),
    name: audit ? "http.request" : "GET /v1/customers/{id}/orders",
    kind: 3,
    startTimeUnixNano: start,
    endTimeUnixNano: start + 12_345_678n,
    attributes: audit ? auditAttributes(number) : debugAttributes(number),
    status: { code: 1 },
  };
}

function debugAttributes(number: number): NonNullable<SpanData["attributes"]> {
  return {
    "http.request.method": "GET",
    "url.full": `https://api.internal/v1/customers/${number}/orders?page=3&per_page=50&sort=created`,
    "server.address": "api.internal",
    "server.port": 443,
    "http.response.status_code": 200,
    "network.protocol.version": "1.1",
    "user_agent.original": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
    "thread.id": 1,
    "app.cache.hit": number % 2 === 0,
    "app.ratio": 0.25,
    "enduser.id": `user:${number}`,
    "code.function.name": "OrderController.getOrdersOfCustomer",
  };
}

function auditAttributes(number: number): NonNullable<SpanData["attributes"]> {
  return {
    "audit.event.name": "http.request",
    "audit.action": "READ",
    "audit.outcome": "success",
    "audit.actor.id": `agent:${number % 50}`,
    "audit.actor.type": "agent",
    "audit.target.type": "http.endpoint",
    "audit.target.id": `https://api.internal/v1/customers/${number}/orders`,
    "audit.policy.decision": "allow",
    "audit.record.id": randomBytes(16).toString("hex"),
    "audit.record.origin": "effect",
    "http.request.method": "GET",
    "http.response.status_code": 200,
  };
}

function request(): Uint8Array {
  const spans = Array.from({ length: SPANS }, (_, number) => span(number));
  const resource = { attributes: { "service.name": "refunds", "service.version": "1.4.2", "host.name": "node-7" } };
  return encodeTraces({ resourceSpans: [{ resource, scopeSpans: [{ scope: { name: "bench" }, spans }] }] });
}

/** One of the two collectors in a process of its own. */
class Server {
  readonly #process: ChildProcess;

  constructor(kind: "collector" | "objects", backend: string) {
    this.#process = fork(fileURLToPath(new URL("collector/server.ts", import.meta.url)), [kind, backend], {
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
  }

  /** Sends a command and gives what it answers; rejects when the process ends instead. */
  ask(command: Command | undefined): Promise<Message> {
    return new Promise((resolve, reject) => {
      const ended = (code: number | null): void =>
        command === "stop" ? resolve({}) : reject(new Error(`the measured process ended with ${code}`));
      this.#process.once("exit", ended);
      this.#process.once("message", (message: Message) => {
        this.#process.off("exit", ended);
        resolve(message);
      });
      if (command !== undefined) this.#process.send(command);
    });
  }
}

function post(agent: Agent, url: string, body: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    const headers = { "content-type": "application/x-protobuf", "content-length": body.length };
    const outgoing = httpRequest(url, { method: "POST", agent, headers }, (response) => {
      response.resume().once("error", reject);
      response.once("end", () => {
        if (response.statusCode === 200) resolve();
        else reject(new Error(`${url} answered ${response.statusCode}`));
      });
    });
    outgoing.once("error", reject).end(body);
  });
}

async function load(url: string, requests: readonly Uint8Array[]): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  let next = 0;
  const connection = async (): Promise<void> => {
    while (next < requests.length) await post(agent, url, requests[next++]!);
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, connection));
  agent.destroy();
}

interface Figure {
  /** Microseconds of CPU for a span, of all threads. */
  readonly user: number;
  readonly system: number;
  readonly stages: Readonly<Record<string, number>>;
}

async function measure(kind: "collector" | "objects", backend: string, profile = false): Promise<Figure> {
  const server = new Server(kind, backend);
  const { url } = await server.ask(undefined);
  const target = `${url}/v1/traces`;
  for (let round = 0; round < WARM_UP; round += CONNECTIONS)
    await load(target, Array.from({ length: CONNECTIONS }, request));
  const requests = Array.from({ length: REQUESTS }, request);
  await server.ask(profile ? "begin with profile" : "begin");
  await load(target, requests);
  const { report } = await server.ask("end");
  await server.ask("stop");
  const { userMicros, systemMicros, stages } = report as Report;
  const spans = REQUESTS * SPANS;
  return {
    user: userMicros / spans,
    system: systemMicros / spans,
    stages: Object.fromEntries(Object.entries(stages).map(([stage, micros]) => [stage, micros / spans])),
  };
}

const total = ({ user, system }: Figure): number => user + system;

/** The figure in the middle of the rounds. */
function median(figures: readonly Figure[]): Figure {
  return figures.toSorted((a, b) => total(a) - total(b))[figures.length >>> 1]!;
}

function line(name: string, figure: Figure): string {
  const cpu = total(figure);
  const split = `user ${figure.user.toFixed(2)}, system ${figure.system.toFixed(2)}`;
  return `${name.padEnd(17)}${cpu.toFixed(2)} µs CPU a span (${split}; ${(1 / cpu).toFixed(3)} million spans a CPU second)\n`;
}

async function main(): Promise<void> {
  const backend = await startBackend();
  const size = request().length / SPANS;
  process.stdout.write(
    `${REQUESTS} requests of ${SPANS} spans, ${size.toFixed(0)} bytes a span, 20% audit, plain HTTP, ${ROUNDS} rounds in turns\n`,
  );
  const ours: Figure[] = [];
  const objects: Figure[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    ours.push(await measure("collector", backend.url));
    objects.push(await measure("objects", backend.url));
  }
  const middle = median(ours);
  const peer = median(objects);
  process.stdout.write(line("collector", middle));
  process.stdout.write(line("objects and JSON", peer));
  process.stdout.write(`ratio            ${(total(peer) / total(middle)).toFixed(1)}x\n`);
  const profiled = await measure("collector", backend.url, true);
  process.stdout.write(`\n${line("with profiler", profiled)}where it goes, µs a span:\n`);
  for (const [stage, each] of Object.entries(profiled.stages).toSorted(([, a], [, b]) => b - a)) {
    const share = ((100 * each) / total(profiled)).toFixed(0).padStart(3);
    process.stdout.write(`  ${stage.padEnd(34)} ${each.toFixed(3)}  ${share}%\n`);
  }
  backend.close();
}

await main();
