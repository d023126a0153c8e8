import { gzipSync, deflateSync } from "node:zlib";
import { request } from "node:http";
import { connect } from "node:net";
import { encodeSpan, encodeTraces, frameSpans, protobufToJson, type SpanData } from "@otel-audit/otlp";
import { pino } from "pino";
import protobuf from "protobufjs";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Consumer, Rejection } from "../../component.ts";
import { testContext } from "../../testing/context.ts";
import type { TraceBatch } from "../../trace-batch.ts";
import { otlpConfig } from "./config.ts";
import { OtlpReceiver } from "./receiver.ts";

const LIMIT = 64 * 1024;
const STATUS = protobuf.parse(`syntax = "proto3"; message Status { int32 code = 1; string message = 2; }
  message Partial { int64 rejected_spans = 1; string error_message = 2; } message Response { Partial partial_success = 1; }`).root;

class Recorder implements Consumer {
  batches: number[] = [];
  answer: () => Promise<readonly Rejection[]> = async () => [];

  async consume({ index }: TraceBatch): Promise<readonly Rejection[]> {
    this.batches.push(index.count);
    return this.answer();
  }
}

function span(i: number): SpanData {
  return {
    traceId: "0af7651916cd43dd8448eb211c80319c",
    spanId: (i + 1).toString(16).padStart(16, "0"),
    name: "s",
    startTimeUnixNano: 1n,
    endTimeUnixNano: 2n,
  };
}

function traces(count: number): Uint8Array {
  return encodeTraces({
    resourceSpans: [{ scopeSpans: [{ spans: Array.from({ length: count }, (_, i) => span(i)) }] }],
  });
}

const PROTOBUF = { "content-type": "application/x-protobuf" };
const JSON_TYPE = { "content-type": "application/json" };
const recorder = new Recorder();
const logged: string[] = [];
let receiver: OtlpReceiver;
let url: string;

beforeAll(async () => {
  const config = otlpConfig.parse({ protocols: { http: { endpoint: "127.0.0.1:0", max_request_body_size: LIMIT } } });
  receiver = new OtlpReceiver(
    config,
    { traces: recorder },
    testContext("otlp", { log: pino({ level: "warn" }, { write: (line: string) => void logged.push(line) }) }),
  );
  await receiver.start();
  url = `${receiver.endpoints.otlpHttp}/v1/traces`;
});
afterAll(() => receiver.shutdown());
beforeEach(() => {
  recorder.batches = [];
  recorder.answer = async () => [];
});

async function post(
  body: Uint8Array | string,
  headers: Record<string, string>,
  target = url,
): Promise<{ status: number; type: string | null; body: Buffer; headers: Headers }> {
  const response = await fetch(target, { method: "POST", body: Buffer.from(body), headers });
  return {
    status: response.status,
    type: response.headers.get("content-type"),
    body: Buffer.from(await response.arrayBuffer()),
    headers: response.headers,
  };
}

function decode(name: string, bytes: Uint8Array): Record<string, unknown> {
  const type = STATUS.lookupType(name);
  return type.toObject(type.decode(bytes), { longs: Number });
}

describe("OTLP/HTTP", () => {
  it.each([
    ["plain protobuf", traces(3), PROTOBUF],
    ["gzip", gzipSync(traces(3)), { ...PROTOBUF, "content-encoding": "gzip" }],
    ["deflate", deflateSync(traces(3)), { ...PROTOBUF, "content-encoding": "deflate" }],
    ["a content type with parameters", traces(3), { "content-type": "application/x-protobuf; charset=utf-8" }],
  ])("accepts %s and answers in protobuf", async (_name, body, headers) => {
    const answer = await post(body, headers);
    expect([answer.status, answer.type, answer.body.length]).toEqual([200, "application/x-protobuf", 0]);
    expect(answer.headers.get("otel-audit-collector")).toMatch(/^\d+\.\d+\.\d+/);
    expect(recorder.batches).toEqual([3]);
  });

  it("accepts JSON and answers in JSON", async () => {
    const json = {
      resourceSpans: [
        {
          scopeSpans: [
            {
              spans: [
                {
                  traceId: "0AF7651916CD43DD8448EB211C80319C",
                  spanId: "0102030405060708",
                  name: "s",
                  startTimeUnixNano: "1",
                  endTimeUnixNano: 2,
                  unknown: 1,
                },
              ],
            },
          ],
        },
      ],
    };
    const answer = await post(JSON.stringify(json), JSON_TYPE);
    expect([answer.status, answer.type, answer.body.toString()]).toEqual([200, "application/json", "{}"]);
    expect(recorder.batches).toEqual([1]);
  });

  it("accepts an empty request", async () => {
    expect((await post("", PROTOBUF)).status).toBe(200);
    expect((await post("{}", JSON_TYPE)).status).toBe(200);
    expect(recorder.batches).toEqual([]);
  });

  it.each<[string, Uint8Array | string, Record<string, string>, number, number]>([
    ["another content type", traces(1), { "content-type": "text/plain" }, 415, 12],
    ["no content type", traces(1), { "content-type": "" }, 415, 12],
    ["an unknown encoding", traces(1), { ...JSON_TYPE, "content-encoding": "br" }, 415, 12],
    ["broken gzip", "no gzip at all", { ...JSON_TYPE, "content-encoding": "gzip" }, 400, 13],
    ["cut gzip", gzipSync(traces(200)).subarray(0, -20), { ...PROTOBUF, "content-encoding": "gzip" }, 400, 13],
    ["truncated protobuf", traces(2).subarray(0, -3), PROTOBUF, 400, 3],
    ["random bytes", Buffer.from("ffffffffffffffffffff", "hex"), PROTOBUF, 400, 3],
    ["invalid JSON", '{"resourceSpans": [', JSON_TYPE, 400, 3],
    ["JSON of another shape", '{"resourceSpans": 7}', JSON_TYPE, 400, 3],
    ["too large a body", Buffer.alloc(LIMIT + 1), PROTOBUF, 413, 8],
    [
      "too large after inflation",
      gzipSync(Buffer.alloc(100 * LIMIT)),
      { ...PROTOBUF, "content-encoding": "gzip" },
      413,
      8,
    ],
  ])(
    "refuses %s with a Status in the request's encoding, and serves the next request",
    async (_name, body, headers, status, code) => {
      const answer = await post(body, headers);
      expect(answer.status).toBe(status);
      const decoded =
        answer.type === "application/json"
          ? (JSON.parse(answer.body.toString()) as Record<string, unknown>)
          : decode("Status", answer.body);
      expect(answer.type).toBe(
        headers["content-type"] === PROTOBUF["content-type"] ? PROTOBUF["content-type"] : "application/json",
      );
      expect(decoded).toMatchObject({ code, message: expect.stringMatching(/./) as string });
      expect(recorder.batches).toEqual([]);
      expect((await post(traces(2), PROTOBUF)).status).toBe(200);
      expect(recorder.batches).toEqual([2]);
    },
  );

  it.each([
    ["GET", "/v1/traces", 405],
    ["POST", "/v1/logs", 404],
    ["POST", "/v1/metrics", 404],
    ["POST", "/", 404],
  ])("answers %s %s with %i", async (method, path, status) => {
    const response = await fetch(`${receiver.endpoints.otlpHttp}${path}`, {
      method,
      ...(method === "POST" && { body: "{}", headers: JSON_TYPE }),
    });
    expect(response.status).toBe(status);
    expect(await response.json()).toMatchObject({ message: expect.stringMatching(/./) as string });
  });

  it("answers 503 with Retry-After when the records cannot be kept now", async () => {
    recorder.answer = () => Promise.reject(new Error("disk full"));
    const answer = await post(traces(1), PROTOBUF);
    expect([answer.status, answer.headers.get("retry-after")]).toEqual([503, "1"]);
    expect(decode("Status", answer.body)).toMatchObject({ code: 14 });
    expect(answer.body.toString()).not.toContain("disk full");
  });

  it("does not log each of many refusals", async () => {
    recorder.answer = () => Promise.reject(new Error("disk full"));
    logged.length = 0;
    const answers = await Promise.all(Array.from({ length: 50 }, () => post(traces(1), PROTOBUF)));
    expect(answers.filter(({ status }) => status === 503)).toHaveLength(50);
    // One line a second: on a slow machine the 50 may take a few of them.
    expect(logged.length).toBeLessThan(25);
  });

  it("tells rejected spans as partial success", async () => {
    recorder.answer = async () => [{ spans: 2, reason: "malformed" }];
    const protobufAnswer = await post(traces(5), PROTOBUF);
    expect(decode("Response", protobufAnswer.body)).toEqual({
      partialSuccess: { rejectedSpans: 2, errorMessage: "malformed" },
    });
    const jsonAnswer = await post(protobufToJson(traces(5)), JSON_TYPE);
    expect(JSON.parse(jsonAnswer.body.toString())).toEqual({
      partialSuccess: { rejectedSpans: "2", errorMessage: "malformed" },
    });
  });

  it("refuses a Host that does not name this machine", async () => {
    const status = await new Promise<number | undefined>((resolve, reject) => {
      const outgoing = request(
        url,
        { method: "POST", headers: { ...PROTOBUF, host: "rebound.example:4318" } },
        (response) => {
          response.resume();
          resolve(response.statusCode);
        },
      );
      outgoing.on("error", reject).end(traces(1));
    });
    expect(status).toBe(403);
    expect(recorder.batches).toEqual([]);
  });

  it("survives a client that goes away in the middle of its body", async () => {
    const { port, hostname } = new URL(url);
    await new Promise<void>((resolve, reject) => {
      const socket = connect(Number(port), hostname, () => {
        socket.write(
          "POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\nContent-Length: 1000\r\n\r\nabc",
          () => socket.destroy(),
        );
      });
      socket.on("close", () => resolve()).on("error", reject);
    });
    expect((await post(traces(1), PROTOBUF)).status).toBe(200);
    expect(recorder.batches).toEqual([1]);
  });

  it("tells the reason to a client that is still sending", async () => {
    const body = Buffer.alloc(16 * 1024 * 1024);
    const answer = await post(body, PROTOBUF);
    expect(answer.status).toBe(413);
    expect(decode("Status", answer.body)).toMatchObject({
      message: expect.stringContaining(
        `larger than ${LIMIT} bytes (max_request_body_size), ${body.length} bytes announced`,
      ) as string,
    });
  });

  it.each([
    ["two lengths", "Content-Length: 3\r\nContent-Length: 4\r\n"],
    ["a length and chunks", "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"],
    ["a negative length", "Content-Length: -1\r\n"],
    ["a header that is folded", "Content-Length:\r\n 3\r\n"],
    ["two encodings", "Content-Length: 3\r\nContent-Encoding: gzip, gzip\r\n"],
    ["two hosts", "Host: localhost\r\nContent-Length: 3\r\n"],
  ])("takes nothing from a request with %s", async (_name, headers) => {
    const { port, hostname } = new URL(url);
    const answer = await new Promise<string>((resolve, reject) => {
      const socket = connect(Number(port), hostname);
      let text = "";
      socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
      socket.on("close", () => resolve(text)).on("error", reject);
      socket.end(
        `POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\n${headers}\r\nabc`,
      );
    });
    expect(answer).toMatch(/^HTTP\/1\.1 4\d\d /);
    expect(recorder.batches).toEqual([]);
  });

  it("never counts a negative number when several pipelines refuse the same spans", async () => {
    recorder.answer = async () => [
      { spans: 1, reason: "malformed" },
      { spans: 1, reason: "malformed" },
    ];
    expect((await post(traces(1), PROTOBUF)).status).toBe(200);
  });

  it("keeps a good span beside a broken one", async () => {
    const broken = Buffer.concat([encodeSpan(span(1)), Buffer.from([0x0a, 0x02, 0x01, 0x02])]);
    expect((await post(frameSpans({}, { name: "s" }, [encodeSpan(span(0)), broken]), PROTOBUF)).status).toBe(200);
    expect(recorder.batches).toEqual([2]);
  });
});
