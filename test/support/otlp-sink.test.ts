import { once } from "node:events";
import { createServer } from "node:http";
import { gzipSync } from "node:zlib";
import { SpanStatusCode } from "@opentelemetry/api";
import { OTLPTraceExporter as JsonExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { OTLPTraceExporter as ProtobufExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { encodeTraces, type TracesData } from "@otel-audit/otlp";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startOtlpSink, type OtlpSink } from "./otlp-sink.ts";

let sink: OtlpSink;

beforeEach(async () => {
  sink = await startOtlpSink({ headers: { "otel-audit-collector": "test" } });
});

afterEach(() => sink.close());

function traces(...names: string[]): TracesData {
  const spans = names.map((name, i) => ({
    traceId: "0af7651916cd43dd8448eb211c80319c",
    spanId: `b7ad6b716920333${i}`,
    name,
    startTimeUnixNano: 1763764800000000001n,
    endTimeUnixNano: 1763764800000000002n,
    attributes: { "audit.action": "READ" },
  }));
  const resource = { attributes: { "service.name": "agent" } };
  return { resourceSpans: [{ resource, scopeSpans: [{ scope: { name: "test" }, spans }] }] };
}

function post(body: Uint8Array | string, headers: Record<string, string> = {}): Promise<Response> {
  const init = { method: "POST", headers: { "content-type": "application/x-protobuf", ...headers } };
  return fetch(sink.tracesUrl, { ...init, body: typeof body === "string" ? body : Buffer.from(body) });
}

const names = (): string[] => sink.spans.map((span) => span.name);

describe("accepts", () => {
  it("protobuf, and keeps each span with its resource and scope", async () => {
    const response = await post(encodeTraces(traces("a", "b")));
    expect(response.status).toBe(200);
    expect(response.headers.get("otel-audit-collector")).toBe("test");
    expect(response.headers.get("content-type")).toBe("application/x-protobuf");
    expect(names()).toEqual(["a", "b"]);
    expect(sink.spans[0]).toMatchObject({
      traceId: "0af7651916cd43dd8448eb211c80319c",
      startTimeUnixNano: 1763764800000000001n,
      attributes: { "audit.action": "READ" },
      resource: { "service.name": "agent" },
      scopeName: "test",
    });
  });

  it("gzip, and the empty request", async () => {
    expect((await post(gzipSync(encodeTraces(traces("zipped"))), { "content-encoding": "gzip" })).status).toBe(200);
    expect((await post(new Uint8Array())).status).toBe(200);
    expect(names()).toEqual(["zipped"]);
    expect(sink.requests.map((request) => request.status)).toEqual([200, 200]);
  });

  it.each([
    ["JSON", JsonExporter, "json"],
    ["protobuf", ProtobufExporter, "protobuf"],
  ] as const)("what the official %s exporter sends", async (_name, Exporter, encoding) => {
    const exporter = new Exporter({ url: sink.tracesUrl });
    const exported = new Promise((resolve) => {
      exporter.export([finishedSpan("official")], resolve);
    });
    expect(await exported).toMatchObject({ code: 0 });
    await exporter.shutdown();
    expect(sink.requests).toMatchObject([{ encoding, path: "/v1/traces" }]);
    expect(sink.spans).toMatchObject([
      {
        name: "official",
        spanId: "b7ad6b7169203331",
        startTimeUnixNano: 1763764800000000001n,
        attributes: { "audit.action": "READ" },
        resource: { "service.name": "agent" },
      },
    ]);
  });
});

describe("refuses", () => {
  it("what is not OTLP, and takes the next good request", async () => {
    expect((await post("x", { "content-type": "text/plain" })).status).toBe(415);
    expect((await post("x", { "content-encoding": "gzip" })).status).toBe(400);
    expect((await post("x", { "content-encoding": "br" })).status).toBe(415);
    expect((await post(encodeTraces(traces("cut")).subarray(0, -1))).status).toBe(400);
    expect((await post("{", { "content-type": "application/json" })).status).toBe(400);
    expect((await fetch(sink.tracesUrl)).status).toBe(405);
    expect((await fetch(`${sink.url}/v1/logs`, { method: "POST" })).status).toBe(404);
    expect(sink.requests).toEqual([]);
    expect((await post(encodeTraces(traces("good")))).status).toBe(200);
    expect(names()).toEqual(["good"]);
  });
});

describe("fails as told", () => {
  it("so often, with Retry-After, without keeping the spans", async () => {
    sink.failNext({ status: 429, retryAfter: 2 }, 2);
    const first = await post(encodeTraces(traces("a")));
    expect([first.status, first.headers.get("retry-after")]).toEqual([429, "2"]);
    expect((await post(encodeTraces(traces("a")))).status).toBe(429);
    expect(names()).toEqual([]);
    expect((await post(encodeTraces(traces("a")))).status).toBe(200);
    expect(names()).toEqual(["a"]);
    expect(sink.requests.map((request) => request.status)).toEqual([429, 429, 200]);
  });

  it("until told otherwise", async () => {
    sink.failAlways({});
    expect((await post(encodeTraces(traces("a")))).status).toBe(503);
    expect((await post(encodeTraces(traces("a")))).status).toBe(503);
    sink.failAlways(undefined);
    expect((await post(encodeTraces(traces("a")))).status).toBe(200);
  });

  it("with the spans kept, and with the connection cut", async () => {
    sink.failNext({ status: 503, keep: true });
    expect((await post(encodeTraces(traces("kept")))).status).toBe(503);
    sink.failNext({ destroy: true, keep: true });
    await expect(post(encodeTraces(traces("cut")))).rejects.toThrow("fetch failed");
    expect(names()).toEqual(["kept", "cut"]);
    expect(sink.requests.map((request) => request.status)).toEqual([503, 0]);
  });
});

describe("waitForSpans", () => {
  it("resolves when enough have come, in several requests too", async () => {
    const waited = sink.waitForSpans(2);
    await post(encodeTraces(traces("a")));
    await post(encodeTraces(traces("b", "c")));
    expect((await waited).length).toBeGreaterThanOrEqual(2);
  });

  it("says what there is when they do not come", async () => {
    await post(encodeTraces(traces("only")));
    await expect(sink.waitForSpans(2, 1)).rejects.toThrow("1 of 2 spans arrived within 1 ms: only");
  });
});

it("listens again on the port it had, as a collector that comes back", async () => {
  await post(encodeTraces(traces("a")));
  await sink.close();
  await expect(post(encodeTraces(traces("b")))).rejects.toThrow("fetch failed");
  sink = await startOtlpSink({ port: sink.port });
  expect((await post(encodeTraces(traces("c")))).status).toBe(200);
  expect(names()).toEqual(["c"]);
});

it("rejects when the port is taken", async () => {
  const other = createServer().listen(0, "127.0.0.1");
  await once(other, "listening");
  const address = other.address();
  const port = typeof address === "object" ? (address?.port ?? 0) : 0;
  await expect(startOtlpSink({ port })).rejects.toMatchObject({ code: "EADDRINUSE" });
  other.close();
});

type ReadableSpan = Parameters<JsonExporter["export"]>[0][number];

function finishedSpan(name: string): ReadableSpan {
  const traceId = "0af7651916cd43dd8448eb211c80319c";
  return {
    name,
    kind: 2,
    spanContext: () => ({ traceId, spanId: "b7ad6b7169203331", traceFlags: 1 }),
    startTime: [1763764800, 1],
    endTime: [1763764800, 2],
    duration: [0, 1],
    status: { code: SpanStatusCode.UNSET },
    attributes: { "audit.action": "READ" },
    links: [],
    events: [],
    ended: true,
    resource: resourceFromAttributes({ "service.name": "agent" }),
    instrumentationScope: { name: "test" },
    droppedAttributesCount: 0,
    droppedEventsCount: 0,
    droppedLinksCount: 0,
  };
}
