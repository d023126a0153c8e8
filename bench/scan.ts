// What the collector does first with a request, find the audit spans and cut out the rest, beside what a receiver
// that decodes does first. Both look at the same bytes in the same process, in turns.
import { randomBytes } from "node:crypto";
import { fileURLToPath } from "node:url";
import {
  type SpanData,
  SPAN_AUDIT,
  SPAN_MALFORMED,
  SpanIndex,
  encodeTraces,
  scanTraces,
  sliceSpans,
} from "@otel-audit/otlp";
import protobuf from "protobufjs";

const SPANS = 512;
const ROUNDS = 31;
const ROUND_MS = 60;

function span(number: number): SpanData {
  const audit = number % 5 === 0;
  const attributes = {
    "http.request.method": "GET",
    "url.full": `https://api.internal/v1/customers/${number}/orders?page=3`,
    "server.address": "api.internal",
    "server.port": 443,
    "http.response.status_code": 200,
    "network.protocol.version": "1.1",
    "user_agent.original": "node",
    "thread.id": 1,
    "app.cache.hit": number % 2 === 0,
    "app.ratio": 0.25,
    "enduser.id": `user:${number}`,
    ...(audit ? { "audit.action": "READ" } : { "code.function.name": "getOrders" }),
  };
  const start = 1_790_000_000_000_000_000n + BigInt(number) * 1_000_000n;
  return {
    traceId: randomBytes(16).toString("hex"),
    spanId: randomBytes(8).toString("hex"),
    parentSpanId: randomBytes(8).toString("hex"),
    name: audit ? "http.request" : "GET /v1/customers/{id}/orders",
    kind: 3,
    startTimeUnixNano: start,
    endTimeUnixNano: start + 12_345_678n,
    attributes,
    status: { code: 1 },
  };
}

function request(): Uint8Array {
  const spans = Array.from({ length: SPANS }, (_, number) => span(number));
  const resource = { attributes: { "service.name": "refunds", "service.version": "1.4.2", "host.name": "node-7" } };
  return encodeTraces({ resourceSpans: [{ resource, scopeSpans: [{ scope: { name: "bench" }, spans }] }] });
}

/** Microseconds a call, over at least ROUND_MS. */
function time(run: () => void): number {
  const started = process.hrtime.bigint();
  const until = started + BigInt(ROUND_MS) * 1_000_000n;
  let calls = 0;
  let now = started;
  while (now < until) {
    run();
    calls++;
    now = process.hrtime.bigint();
  }
  return Number(now - started) / 1000 / calls;
}

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >>> 1] ?? Number.NaN;
}

export async function main(): Promise<void> {
  const bytes = request();
  const root = await protobuf.load(fileURLToPath(new URL("../test/proto/otlp-trace.proto", import.meta.url)));
  const type = root.lookupType("otlp.Request");
  const index = new SpanIndex();
  const scanOnly = () => void scanTraces(bytes, index);
  const scanAndSlice = () => void sliceSpans(scanTraces(bytes, index), SPAN_AUDIT | SPAN_MALFORMED);
  const memory = new Uint8Array(bytes.length + 1024);
  const scanAndSliceInto = () => void sliceSpans(scanTraces(bytes, index), SPAN_AUDIT | SPAN_MALFORMED, memory);
  const decode = () => void type.decode(bytes);
  scanAndSlice();
  if (index.count !== SPANS || index.malformedCount !== 0) throw new Error("the request was not scanned as expected");

  const times = {
    scanOnly: [] as number[],
    scanAndSlice: [] as number[],
    into: [] as number[],
    decode: [] as number[],
  };
  for (let round = 0; round <= ROUNDS; round++) {
    const [scan, slice, into, full] = [time(scanOnly), time(scanAndSlice), time(scanAndSliceInto), time(decode)];
    // The first round is for the compiler.
    if (round === 0) continue;
    times.scanOnly.push(scan);
    times.scanAndSlice.push(slice);
    times.into.push(into);
    times.decode.push(full);
  }
  const row = (name: string, micros: number) =>
    `${name.padEnd(24)}${micros.toFixed(1).padStart(9)} µs/request${(SPANS / micros).toFixed(2).padStart(8)} M spans/s`;
  console.log(`${SPANS} spans, ${bytes.length} bytes, ${index.auditCount} audit`);
  console.log(row("scan", median(times.scanOnly)));
  console.log(row("scan and slice", median(times.into)));
  console.log(row("... into new memory", median(times.scanAndSlice)));
  console.log(row("protobufjs full decode", median(times.decode)));
  const ratio = (micros: number[]) => (median(times.decode) / median(micros)).toFixed(1);
  console.log(`ratio: scan and slice is ${ratio(times.into)} times as fast as a full decode (goal: 20);`);
  console.log(`       ${ratio(times.scanAndSlice)} times when it allocates memory for each slice`);
}

if (import.meta.main) await main();
