// CPU of the whole collector process for a span: 20% audit, plain OTLP/HTTP, 512 spans a request, beside a collector of
// objects (decode with protobufjs, JSON lines, JSONEachRow). Then where the collector's own time goes, by profile.
import { encodeTraces, type SpanData } from "@otel-audit/otlp";
import { fork, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { startOtlpSink } from "../test/support/index.ts";
import type { Report, Ready } from "./collector/server.ts";

const SPANS = 512;
const REQUESTS = 300;
const WARM_UP = 40;
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

async function startServer(
  kind: "collector" | "objects",
  backend: string,
): Promise<{ server: ChildProcess; url: string }> {
  const server = fork(fileURLToPath(new URL("collector/server.ts", import.meta.url)), [kind, backend], {
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  const [ready] = (await once(server, "message")) as [Ready];
  return { server, url: `${ready.url}/v1/traces` };
}

async function load(url: string, requests: readonly Uint8Array[]): Promise<void> {
  let next = 0;
  const connection = async (): Promise<void> => {
    while (next < requests.length) {
      const body = Buffer.from(requests[next++]!);
      const response = await fetch(url, {
        method: "POST",
        headers: { "content-type": "application/x-protobuf" },
        body,
      });
      await response.arrayBuffer();
      if (response.status !== 200) throw new Error(`${url} answered ${response.status}`);
    }
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, connection));
}

/** Microseconds of CPU, user and system, all threads, for a span; and the profile of the main thread. */
async function measure(
  kind: "collector" | "objects",
  backend: string,
): Promise<Report & { cpuPerSpan: number; spansPerSecond: number }> {
  const { server, url } = await startServer(kind, backend);
  try {
    await load(url, Array.from({ length: WARM_UP }, request));
    const requests = Array.from({ length: REQUESTS }, request);
    server.send("begin");
    await once(server, "message");
    const started = performance.now();
    await load(url, requests);
    const seconds = (performance.now() - started) / 1000;
    server.send("end");
    const [report] = (await once(server, "message")) as [Report];
    return {
      ...report,
      cpuPerSpan: report.cpuMicros / (REQUESTS * SPANS),
      spansPerSecond: (REQUESTS * SPANS) / seconds,
    };
  } finally {
    server.send("stop");
    await once(server, "exit");
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >>> 1]!;
}

async function main(): Promise<void> {
  await using sink = await startOtlpSink();
  const size = request().length / SPANS;
  process.stdout.write(
    `${REQUESTS} requests of ${SPANS} spans, ${size.toFixed(0)} bytes a span, 20% audit, plain HTTP, ${ROUNDS} rounds in turns\n`,
  );
  const ours: Awaited<ReturnType<typeof measure>>[] = [];
  const objects: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    ours.push(await measure("collector", sink.url));
    objects.push((await measure("objects", sink.url)).cpuPerSpan);
    sink.clear();
  }
  const cpu = median(ours.map(({ cpuPerSpan }) => cpuPerSpan));
  const peer = median(objects);
  process.stdout.write(
    `collector        ${cpu.toFixed(2)} µs CPU a span (${(1 / cpu).toFixed(3)} million spans a CPU second)\n`,
  );
  process.stdout.write(`objects and JSON ${peer.toFixed(2)} µs CPU a span\n`);
  process.stdout.write(`ratio            ${(peer / cpu).toFixed(1)}x\n`);
  const middle = ours.find(({ cpuPerSpan }) => cpuPerSpan === cpu)!;
  process.stdout.write(`\nwhere the collector's CPU goes, µs a span:\n`);
  for (const [stage, micros] of Object.entries(middle.stages).toSorted(([, a], [, b]) => b - a)) {
    const each = micros / (REQUESTS * SPANS);
    process.stdout.write(`  ${stage.padEnd(34)} ${each.toFixed(3)}  ${((100 * each) / cpu).toFixed(0).padStart(3)}%\n`);
  }
}

await main();
