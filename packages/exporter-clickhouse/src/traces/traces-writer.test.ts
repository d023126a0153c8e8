import { afterAll, beforeAll, expect, test } from "vitest";
import { tempDir } from "../../../../test/support/index.ts";
import { EmbeddedEngine } from "../embedded/index.ts";
import { ClickHouseHttp } from "../http.ts";
import { auditSpan, request } from "../testing/spans.ts";
import { TracesWriter } from "./traces-writer.ts";

let dir: string;
let engine: EmbeddedEngine;
let reader: ClickHouseHttp;
let writer: TracesWriter;

beforeAll(async () => {
  dir = tempDir("traces");
  engine = await EmbeddedEngine.start({ dataDir: dir });
  reader = new ClickHouseHttp(engine.reader, 30_000);
  writer = new TracesWriter(engine.writer);
});

afterAll(async () => {
  await writer.close();
  await reader.close();
  await engine.stop();
});

test("spans of several requests laid one behind the other, over more days than an insert has by default", async () => {
  const day = 86_400_000_000_000n;
  const spans = Array.from({ length: 150 }, (_, i) =>
    auditSpan({}, { name: `span-${i}`, startTimeUnixNano: 1_700_000_000_000_000_000n + BigInt(i) * day }),
  );
  const both = Buffer.concat([request(spans.slice(0, 70)), request(spans.slice(70))]);
  expect(await writer.insert(both)).toBe(150);
  const rows = await reader.query(
    "SELECT toUInt32(count()) AS spans, toUInt32(uniqExact(SpanName)) AS names, any(ServiceName) AS service FROM otel_audit.otel_traces",
  );
  expect(rows).toEqual([{ spans: 150, names: 150, service: "test" }]);
  const lookups = await reader.query("SELECT toUInt32(count()) AS traces FROM otel_audit.otel_traces_trace_id_ts");
  expect(lookups).toEqual([{ traces: 150 }]);
});

test("nothing to insert, and a broken request", async () => {
  expect(await writer.insert(new Uint8Array(0))).toBe(0);
  await expect(writer.insert(Uint8Array.of(0x0a, 0x7f))).rejects.toMatchObject({ name: "OtlpError" });
});

test("a connection that is not there yet is one that may come", async () => {
  const early = new TracesWriter(() => {
    throw new Error("not started");
  });
  await expect(early.insert(request([auditSpan()]))).rejects.toMatchObject({ code: "CONNECTION", retryable: true });
  await early.close();
  await expect(early.insert(request([auditSpan()]))).rejects.toMatchObject({ code: "CLOSED" });
});
