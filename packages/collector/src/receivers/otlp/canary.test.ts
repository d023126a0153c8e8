import { decodeTraces, encodeTraces, type SpanData } from "@otel-audit/otlp";
import { ATTR_AUDIT_ACTION } from "@otel-audit/semantic-conventions";
import { gzipSync } from "node:zlib";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { startOtlpSink, type OtlpSink } from "../../../../../test/support/index.ts";
import type { Consumer } from "../../component.ts";
import { AuditRouter } from "../../connectors/audit_router/router.ts";
import { otlphttpConfig } from "../../exporters/otlphttp/config.ts";
import { OtlphttpExporter } from "../../exporters/otlphttp/exporter.ts";
import { testContext } from "../../testing/context.ts";
import { otlpConfig } from "./config.ts";
import { OtlpReceiver } from "./receiver.ts";

// Memory is used again from request to request. Every span here says which request it is from, in every field that may
// differ; whatever is stored or forwarded has to agree with itself, and all of it has to arrive once.

const REQUESTS = 120;
const SPANS = 60;
const context = testContext("otlp");
let sink: OtlpSink;
let receiver: OtlpReceiver;
let exporter: OtlphttpExporter;
const stored: string[] = [];
let consumed = 0;

/** Looks at its spans only some time after it was called, as one does that waits for a disk. */
const audit: Consumer = {
  consume: async (batch) => {
    await sleep(Math.random() * 20);
    for (const span of spansOf(batch.index.bytes))
      if (span.attributes?.[ATTR_AUDIT_ACTION] !== undefined) stored.push(check(span));
    if (++consumed % 10 === 0) throw new Error("log full");
    return [];
  },
};

beforeAll(async () => {
  sink = await startOtlpSink();
  const config = otlphttpConfig.parse({ endpoint: sink.url, retry_on_failure: { initial_interval: 5 } });
  exporter = new OtlphttpExporter(config, { ...context, id: "otlphttp" });
  const router = new AuditRouter(
    { audit: ["traces/audit"], debug: ["traces/debug"] },
    new Map<string, Consumer>([
      ["traces/audit", audit],
      ["traces/debug", exporter],
    ]),
    context,
  );
  const receiverConfig = otlpConfig.parse({ protocols: { http: { endpoint: "127.0.0.1:0" } } });
  receiver = new OtlpReceiver(receiverConfig, { traces: router }, context);
  await receiver.start();
});
afterAll(async () => {
  await receiver.shutdown();
  await exporter.shutdown();
  await sink.close();
});

function spansOf(bytes: Uint8Array): readonly SpanData[] {
  return decodeTraces(bytes).resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans));
}

function span(canary: string, number: number, kind: "all audit" | "mixed" | "no audit"): SpanData {
  const isAudit = kind === "all audit" || (kind === "mixed" && number % 3 === 0);
  return {
    traceId: canary.padStart(32, "1"),
    spanId: `${canary}${number.toString(16).padStart(4, "0")}`.padStart(16, "2"),
    name: `${canary}-${number}`,
    startTimeUnixNano: 1n,
    endTimeUnixNano: 2n,
    attributes: { canary: canary.repeat(40), ...(isAudit && { [ATTR_AUDIT_ACTION]: "READ" }) },
  };
}

/** The span's name, when all of it is from one request. */
function check({ traceId, spanId, name, attributes }: SpanData): string {
  const canary = name.slice(0, 8);
  expect(traceId).toBe(canary.padStart(32, "1"));
  expect(spanId.slice(4, 12)).toBe(canary);
  expect(attributes?.["canary"]).toBe(canary.repeat(40));
  return name;
}

it("shows no byte of one request in another", async () => {
  const KINDS = ["all audit", "mixed", "no audit"] as const;
  const sent: string[] = [];
  const statuses = new Set<number>();
  const forwarded: string[] = [];
  sink.failNext({ status: 503 }, 10);
  const client = async (from: number): Promise<void> => {
    for (let i = from; i < REQUESTS; i += 8) {
      const canary = (0xabc00000 + i).toString(16);
      const kind = KINDS[i % KINDS.length]!;
      // Different sizes, so that a buffer holds the rest of a longer request.
      const spans = Array.from({ length: SPANS + ((i * 37) % SPANS) * 4 }, (_, n) => span(canary, n, kind));
      const bytes = encodeTraces({ resourceSpans: [{ scopeSpans: [{ spans }] }] });
      const compressed = i % 4 === 0;
      const headers = {
        "content-type": "application/x-protobuf",
        ...(compressed && { "content-encoding": "gzip" }),
      };
      const response = await fetch(`${receiver.endpoints.otlpHttp}/v1/traces`, {
        method: "POST",
        headers,
        body: Buffer.from(compressed ? gzipSync(bytes) : bytes),
      });
      statuses.add(response.status);
      if (response.status !== 200) continue;
      for (const one of spans) (one.attributes?.[ATTR_AUDIT_ACTION] === undefined ? forwarded : sent).push(one.name);
    }
  };
  await Promise.all(Array.from({ length: 8 }, (_, i) => client(i)));
  expect(await exporter.drain(30_000)).toBe(true);
  expect([...statuses].toSorted((a, b) => a - b)).toEqual([200, 503]);
  expect(new Set(stored)).toEqual(new Set([...stored, ...sent]));
  expect(sink.spans.map((one) => one.name).toSorted()).toEqual(forwarded.toSorted());
  expect(context.memory.keptBytes).toBeGreaterThan(0);
});
