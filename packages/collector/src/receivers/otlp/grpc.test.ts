import { status } from "@grpc/grpc-js";
import { ROOT_CONTEXT, trace } from "@opentelemetry/api";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-grpc";
import { BatchSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";
import { constants, type OutgoingHttpHeaders } from "node:http2";
import { connect as connectTcp } from "node:net";
import { deflateSync, gzipSync, zstdCompressSync } from "node:zlib";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { proto } from "../../../../../test/proto/load.ts";
import { AuthError } from "../../auth.ts";
import type { Rejection, SignalBatch } from "../../component.ts";
import { testContext } from "../../testing/context.ts";
import { call, raw, traces, withSession } from "../../testing/grpc-client.ts";
import type { TraceBatch } from "../../trace-batch.ts";
import { otlpConfig } from "./config.ts";
import { frame } from "./grpc-frame.ts";
import { OtlpReceiver } from "./receiver.ts";

const MIB = 1024 * 1024;
const TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const LOGS = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
const METRICS = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

let batches: number[] = [];
let logs: SignalBatch[] = [];
let answer: () => Promise<readonly Rejection[]> = async () => [];
const context = testContext("otlp");
let receiver: OtlpReceiver;
let url: string;

beforeAll(async () => {
  receiver = new OtlpReceiver(
    otlpConfig.parse({
      protocols: {
        grpc: {
          endpoint: "127.0.0.1:0",
          max_recv_msg_size_mib: 1,
          max_concurrent_streams: 20,
          keepalive: { enforcement_policy: { min_time: "1h", permit_without_stream: true } },
        },
      },
      max_in_flight_bytes: 32 * MIB,
    }),
    {
      traces: {
        consume: async (batch: TraceBatch) => {
          batches.push(batch.spans);
          return answer();
        },
      },
      logs: { forward: async (batch) => void logs.push({ ...batch, bytes: batch.bytes.slice() }) },
    },
    context,
  );
  await receiver.start();
  url = receiver.endpoints.otlpGrpc!;
});
afterAll(() => receiver.shutdown());
beforeEach(() => {
  batches = [];
  logs = [];
  answer = async () => [];
});

describe("OTLP/gRPC", () => {
  it.each(["none", "gzip"])("takes what the official exporter sends (%s)", async (compression) => {
    const exporter = new OTLPTraceExporter({ url, compression: compression as never });
    const provider = new TracerProvider({ spanProcessors: [new BatchSpanProcessor({ exporter })] });
    for (let i = 0; i < 5; i++) provider.getTracer("app").startSpan(`s${i}`, {}, trace.deleteSpan(ROOT_CONTEXT)).end();
    await provider.shutdown();
    expect(batches).toEqual([5]);
    const [value] = (await context.telemetry.accepted.traces.get()).values;
    expect(value?.labels).toEqual({ receiver: "otlp", transport: "grpc" });
  });

  it.each([
    ["gzip", gzipSync],
    ["deflate", deflateSync],
    ["zstd", zstdCompressSync],
  ])("takes a message compressed with %s", async (encoding, compress) => {
    const body = frame(compress(traces(100)));
    body[0] = 1;
    const { headers, trailers } = await withSession(url, (session) =>
      raw(session, body, { "grpc-encoding": encoding }),
    );
    expect([headers[":status"], trailers["grpc-status"]]).toEqual([200, "0"]);
    expect(headers).toMatchObject({ "content-type": "application/grpc" });
    expect(batches).toEqual([100]);
  });

  it("takes a message that is not compressed although its call could be", async () => {
    await withSession(url, (session) => raw(session, frame(traces(3)), { "grpc-encoding": "gzip" }));
    expect(batches).toEqual([3]);
  });

  it("takes an empty request", async () => {
    const { error, response } = await call(url, Buffer.alloc(0));
    expect([error, response?.length]).toEqual([undefined, 0]);
    expect(batches).toEqual([]);
  });

  it("takes a message cut into any pieces", async () => {
    await withSession(url, async (session) => {
      const stream = session.request({ ":method": "POST", ":path": TRACES, "content-type": "application/grpc+proto" });
      const body = frame(traces(2));
      for (const end of [1, 3, 5, 6, body.length]) {
        stream.write(body.subarray(end === 1 ? 0 : [0, 1, 3, 5, 6][[1, 3, 5, 6, body.length].indexOf(end)], end));
        await new Promise((resolve) => setImmediate(resolve));
      }
      const trailers = new Promise((resolve) => stream.once("trailers", resolve));
      stream.end();
      stream.resume();
      expect(await trailers).toMatchObject({ "grpc-status": "0" });
    });
    expect(batches).toEqual([2]);
  });

  it("tells rejected spans as partial success", async () => {
    answer = async () => [{ spans: 2, reason: "malformed" }];
    const { response } = await call(url, traces(5));
    expect(proto.response.toObject(proto.response.decode(response!), { longs: Number })).toEqual({
      partialSuccess: { rejectedSpans: 2, errorMessage: "malformed" },
    });
  });

  it.each([
    ["what cannot be kept now", new Error("disk full"), status.UNAVAILABLE, { seconds: 1 }],
    [
      "what is too much for a credential",
      new AuthError("rate_limited", "slower, ä 100%", { retryAfterMs: 2_500 }),
      status.RESOURCE_EXHAUSTED,
      { seconds: 2, nanos: 500_000_000 },
    ],
  ])("refuses %s with RetryInfo", async (_name, thrown, code, delay) => {
    answer = () => Promise.reject(thrown);
    const { error } = await call(url, traces(1));
    expect(error?.code).toBe(code);
    const [details] = error!.metadata.get("grpc-status-details-bin");
    const decoded = proto.rpcStatus.decode(details as Buffer) as unknown as { code: number; message: string };
    expect(decoded).toMatchObject({ code, message: error!.details });
    const { details: packed } = proto.rpcStatus.toObject(decoded as never) as {
      details: { typeUrl: string; value: Buffer }[];
    };
    expect(packed[0]!.typeUrl).toBe("type.googleapis.com/google.rpc.RetryInfo");
    expect(proto.retryInfo.toObject(proto.retryInfo.decode(packed[0]!.value), { longs: Number })).toEqual({
      retryDelay: delay,
    });
  });

  it.each<[string, Buffer, OutgoingHttpHeaders, number]>([
    ["what is no protobuf", frame(Buffer.from("ffffffffffffffffffff", "hex")), {}, status.INVALID_ARGUMENT],
    ["no message", Buffer.alloc(0), {}, status.UNIMPLEMENTED],
    ["two messages", Buffer.concat([frame(traces(1)), frame(traces(1))]), {}, status.UNIMPLEMENTED],
    ["half a frame", Buffer.alloc(3), {}, status.INTERNAL],
    ["a longer length", Buffer.concat([Buffer.from([0, 0, 0, 9, 9]), traces(1)]), {}, status.INTERNAL],
    ["another flag", Buffer.from([2, 0, 0, 0, 0]), {}, status.INTERNAL],
    ["compression without a name", Buffer.from([1, 0, 0, 0, 0]), {}, status.INTERNAL],
    ["compression by nothing", Buffer.from([1, 0, 0, 0, 0]), { "grpc-encoding": "identity" }, status.INTERNAL],
    ["broken gzip", Buffer.from([1, 0, 0, 0, 1, 7]), { "grpc-encoding": "gzip" }, status.INTERNAL],
    ["another compression", frame(traces(1)), { "grpc-encoding": "snappy" }, status.UNIMPLEMENTED],
    ["another method", frame(traces(1)), { ":path": "/a/B" }, status.UNIMPLEMENTED],
    ["a message above the limit", frame(Buffer.alloc(MIB + 1)), {}, status.RESOURCE_EXHAUSTED],
    ["a header above the limit", frame(traces(1)), { "x-a": "a".repeat(17_000) }, status.RESOURCE_EXHAUSTED],
    ["another Host", frame(traces(1)), { ":authority": "rebound.example:4317" }, status.PERMISSION_DENIED],
  ])("refuses %s, without a hint to come again, and serves the next", async (_name, body, headers, code) => {
    await withSession(url, async (session) => {
      const refused = await raw(session, body, headers);
      expect(refused.headers).toMatchObject({ ":status": 200, "grpc-status": String(code) });
      expect(refused.headers["grpc-message"]).toMatch(/./);
      expect(refused.headers).not.toHaveProperty("grpc-status-details-bin");
      expect(batches).toEqual([]);
      expect((await raw(session, frame(traces(1)))).trailers).toMatchObject({ "grpc-status": "0" });
    });
    expect(batches).toEqual([1]);
  });

  it("stops a bomb at the limit", async () => {
    const body = frame(gzipSync(Buffer.alloc(60 * MIB)));
    body[0] = 1;
    const { headers } = await withSession(url, (session) => raw(session, body, { "grpc-encoding": "gzip" }));
    expect(headers["grpc-status"]).toBe(String(status.RESOURCE_EXHAUSTED));
    expect(decodeURIComponent(String(headers["grpc-message"]))).toContain("after decompression");
  });

  it("forwards logs as the bytes that came, and says what to configure for metrics", async () => {
    const bytes = Buffer.from("0a0212000a00", "hex");
    expect((await call(url, bytes, LOGS, 2)).error).toBeUndefined();
    expect(logs).toEqual([expect.objectContaining({ signal: "logs", contentType: "application/x-protobuf" })]);
    expect(Buffer.from(logs[0]!.bytes)).toEqual(bytes);
    const { error } = await call(url, bytes, METRICS);
    expect([error?.code, error?.details]).toEqual([
      status.UNIMPLEMENTED,
      expect.stringContaining("add service::pipelines::metrics with receivers: [otlp]"),
    ]);
  });

  it("answers HTTP clients with HTTP's status", async () => {
    const { headers } = await withSession(url, (session) =>
      raw(session, traces(1), { "content-type": "application/json" }),
    );
    expect(headers[":status"]).toBe(415);
  });

  it("survives a client that goes away, and garbage", async () => {
    await withSession(url, async (session) => {
      const stream = session.request({ ":method": "POST", ":path": TRACES, "content-type": "application/grpc" });
      stream.write(frame(traces(10)).subarray(0, 20));
      stream.on("error", () => {});
      await new Promise((resolve) => setTimeout(resolve, 20));
      stream.close(constants.NGHTTP2_CANCEL);
    });
    await new Promise<void>((resolve) => {
      const socket = connectTcp(Number(new URL(url).port), "127.0.0.1");
      socket.on("close", () => resolve()).on("error", () => {});
      socket.end("POST /v1/traces HTTP/1.1\r\nHost: localhost\r\n\r\n").resume();
    });
    expect((await call(url, traces(1))).error).toBeUndefined();
    expect(batches).toEqual([1]);
  });

  it("cuts a client that opens streams only to reset them, and serves others", async () => {
    const code = await withSession(url, async (session) => {
      const ended = new Promise<number>((resolve) => {
        session.on("goaway", resolve);
        session.on("close", () => resolve(-1));
      });
      const timer = setInterval(() => {
        for (let i = 0; i < 200 && !session.destroyed && !session.closed; i++) {
          const stream = session.request({ ":method": "POST", ":path": TRACES, "content-type": "application/grpc" });
          stream.on("error", () => {});
          stream.close(constants.NGHTTP2_CANCEL);
        }
      }, 1);
      const got = await ended;
      clearInterval(timer);
      return got;
    });
    expect(code).not.toBe(constants.NGHTTP2_NO_ERROR);
    expect((await call(url, traces(1))).error).toBeUndefined();
  });

  it("cuts a client that pings time and again", async () => {
    const code = await withSession(
      url,
      (session) =>
        new Promise<number>((resolve) => {
          session.on("goaway", resolve);
          session.once("remoteSettings", () => {
            for (let i = 0; i < 5; i++) session.ping(() => {});
          });
        }),
    );
    expect(code).toBe(constants.NGHTTP2_ENHANCE_YOUR_CALM);
  });

  it("gives back the memory of what was refused, cut or answered", async () => {
    const bytes = new Float64Array(context.shared("in-flight", 8));
    await expect.poll(() => bytes[0]).toBe(0);
  });
});
