import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT_CONTEXT, SpanKind, SpanStatusCode, trace, TraceFlags } from "@opentelemetry/api";
import { resourceFromAttributes } from "@opentelemetry/resources";
import {
  AlwaysOffSampler,
  BatchSpanProcessor,
  createAlwaysRecordSampler,
  InMemorySpanExporter,
  SimpleSpanProcessor,
  TracerProvider,
} from "@opentelemetry/sdk-trace";
import { Ledger } from "@otel-audit/ledger";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { tempDir } from "../../../../test/support/index.ts";
import { EmbeddedEngine } from "../embedded/index.ts";
import { ClickHouseError } from "../errors.ts";
import { ClickHouseHttp } from "../http.ts";
import { AuditRoutingExporter } from "./audit-routing-exporter.ts";
import { AuditSpanProcessor } from "./audit-span-processor.ts";

/** What is asked for is in the table, however slow the machine is. */
const PATIENT = { shutdownTimeoutMs: 50_000 };

let dir: string;
let engine: EmbeddedEngine;
let http: ClickHouseHttp;
let dataDir: string;
let workflow: string;
let runs = 0;

beforeAll(async () => {
  dir = tempDir("sdk");
  engine = await EmbeddedEngine.start({ dataDir: join(dir, "engine") });
  http = new ClickHouseHttp(engine.reader, 30_000);
});

afterAll(async () => {
  await http.close();
  await engine.stop();
});

beforeEach(() => {
  dataDir = join(dir, `data-${runs++}`);
  workflow = `wf-${runs}`;
});

function audit(extra: Record<string, string | number | boolean | string[]> = {}) {
  return {
    "audit.action": "READ",
    "audit.event.name": "file.read",
    "audit.outcome": "success",
    "audit.actor.id": "agent:sdk",
    "audit.workflow.id": workflow,
    "audit.target.id": "file:///a",
    ...extra,
  };
}

async function stored(columns: string): Promise<Record<string, unknown>[]> {
  return await http.query(`SELECT ${columns} FROM otel_audit.audit_events WHERE WorkflowId = '${workflow}'`);
}

describe("AuditRoutingExporter", () => {
  test("audit spans go to the table, all others to the delegate", async () => {
    const debug = new InMemorySpanExporter();
    const exporter = new AuditRoutingExporter({ ...PATIENT, clickhouse: engine.writer, dataDir, delegate: debug });
    const provider = new TracerProvider({
      resource: resourceFromAttributes({ "service.name": "shop" }),
      spanProcessors: [new BatchSpanProcessor({ exporter })],
    });
    const tracer = provider.getTracer("lib", "1.2.3");
    const parent = tracer.startSpan("request");
    const context = trace.setSpan(ROOT_CONTEXT, parent);
    const span = tracer.startSpan(
      "file.read",
      {
        kind: SpanKind.CLIENT,
        startTime: [1_795_000_000, 123_456_789],
        attributes: audit({ "file.size": 3, ok: true, tags: ["a", "b"] }),
        links: [{ context: parent.spanContext(), attributes: { why: "test" } }],
      },
      context,
    );
    span.addEvent("opened", { fd: 7 }, [1_795_000_000, 123_456_999]);
    span.setStatus({ code: SpanStatusCode.ERROR, message: "late" });
    span.end([1_795_000_001, 0]);
    parent.end();
    await provider.forceFlush();
    expect(debug.getFinishedSpans().map(({ name }) => name)).toEqual(["request"]);
    await provider.shutdown();
    const rows = await stored(
      "TraceId, SpanId, ParentSpanId, SpanKind, ServiceName, ScopeName, ScopeVersion, toString(Timestamp) AS at, Duration, " +
        "StatusCode, StatusMessage, SpanAttributes, `Events.Name` AS events, `Links.SpanId` AS links, Provenance, ActorId",
    );
    expect(rows).toEqual([
      {
        TraceId: span.spanContext().traceId,
        SpanId: span.spanContext().spanId,
        ParentSpanId: parent.spanContext().spanId,
        SpanKind: "Client",
        ServiceName: "shop",
        ScopeName: "lib",
        ScopeVersion: "1.2.3",
        at: "2026-11-18 11:06:40.123456789",
        Duration: 876_543_211,
        StatusCode: "Error",
        StatusMessage: "late",
        SpanAttributes: { "file.size": "3", ok: "true", tags: '["a","b"]' },
        events: ["opened"],
        links: [parent.spanContext().spanId],
        Provenance: "asserted",
        ActorId: "agent:sdk",
      },
    ]);
  });

  test("forceFlush resolves with the spans on disk, whether or not there is a database", async () => {
    const exporter = new AuditRoutingExporter({
      clickhouse: { url: "http://127.0.0.1:1" },
      dataDir,
      shutdownTimeoutMs: 0,
    });
    const provider = new TracerProvider({ spanProcessors: [new AuditSpanProcessor(exporter)] });
    for (let i = 0; i < 50; i++) provider.getTracer("t").startSpan("a", { attributes: audit() }).end();
    await provider.forceFlush();
    await provider.shutdown();
    const later = await Ledger.open({ dir: dataDir });
    expect(later.closedSegments().reduce((sum, { count }) => sum + count, 0)).toBe(50);
    await later.close();
    // The next process brings them to the table.
    const next = new AuditRoutingExporter({ ...PATIENT, clickhouse: engine.writer, dataDir });
    const second = new TracerProvider({ spanProcessors: [new AuditSpanProcessor(next)] });
    second.getTracer("t").startSpan("b", { attributes: audit() }).end();
    await second.shutdown();
    expect(await stored("count() AS n")).toEqual([{ n: 51 }]);
  });

  test("without a server it brings its own engine, whose data others can open", async () => {
    const exporter = new AuditRoutingExporter({ ...PATIENT, dataDir });
    const provider = new TracerProvider({ spanProcessors: [new AuditSpanProcessor(exporter)] });
    provider.getTracer("t").startSpan("a", { attributes: audit() }).end();
    await provider.shutdown();
    const again = await EmbeddedEngine.start({ dataDir });
    const other = new ClickHouseHttp(again.reader, 30_000);
    expect(await other.query("SELECT WorkflowId FROM otel_audit.audit_events")).toEqual([{ WorkflowId: workflow }]);
    await other.close();
    await again.stop();
  });

  test("a failing delegate is reported, its spans only", async () => {
    const exporter = new AuditRoutingExporter({
      ...PATIENT,
      clickhouse: engine.writer,
      dataDir,
      delegate: {
        export: (_, done) => done({ code: 1, error: new Error("backend") }),
        shutdown: () => Promise.resolve(),
      },
    });
    const memory = new InMemorySpanExporter();
    const provider = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter: memory })] });
    provider.getTracer("t").startSpan("a", { attributes: audit() }).end();
    provider.getTracer("t").startSpan("b").end();
    const result = await new Promise<{ code: number; error?: Error }>((resolve) => {
      exporter.export(memory.getFinishedSpans(), resolve);
    });
    expect(result).toMatchObject({ code: 1, error: { message: "backend" } });
    await exporter.forceFlush();
    await exporter.shutdown();
    expect(await stored("count() AS n")).toEqual([{ n: 1 }]);
  });

  test("an unusable data folder fails the flush, not the application", async () => {
    const file = join(dir, "file");
    writeFileSync(file, "");
    const exporter = new AuditRoutingExporter({ clickhouse: engine.writer, dataDir: join(file, "nowhere") });
    const processor = new AuditSpanProcessor(exporter);
    const provider = new TracerProvider({ spanProcessors: [processor] });
    provider.getTracer("t").startSpan("a", { attributes: audit() }).end();
    await expect(processor.forceFlush()).rejects.toThrow(/nowhere/);
    await exporter.shutdown();
  });

  test("bounds", async () => {
    expect(() => new AuditRoutingExporter({ dataDir, maxPendingSpans: 0 })).toThrow(/maxPendingSpans 0/);
    const exporter = new AuditRoutingExporter({ clickhouse: engine.writer, dataDir, maxPendingSpans: 1 });
    const memory = new InMemorySpanExporter();
    const provider = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter: memory })] });
    for (const name of ["a", "b"]) provider.getTracer("t").startSpan(name, { attributes: audit() }).end();
    const error = await exporter.record(memory.getFinishedSpans()).catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(ClickHouseError);
    expect(error).toMatchObject({ code: "OVERLOADED" });
    await expect(exporter.forceFlush()).rejects.toThrow(/maxPendingSpans 1/);
    await exporter.shutdown();
  });
});

describe("AuditSpanProcessor", () => {
  test("a burst beyond the batch processor's queue, and spans that are not sampled: every one, once", async () => {
    const exporter = new AuditRoutingExporter({ ...PATIENT, clickhouse: engine.writer, dataDir });
    const provider = new TracerProvider({
      sampler: createAlwaysRecordSampler(new AlwaysOffSampler()),
      spanProcessors: [new AuditSpanProcessor(exporter), new BatchSpanProcessor({ exporter })],
    });
    const tracer = provider.getTracer("t");
    for (let i = 0; i < 5_000; i++) tracer.startSpan("a", { attributes: audit({ "audit.record.id": `r-${i}` }) }).end();
    tracer.startSpan("debug").end();
    await provider.forceFlush();
    await provider.shutdown();
    expect(await stored("count() AS n, uniqExact(RecordId) AS ids")).toEqual([{ n: 5000, ids: 5000 }]);
  });

  test("both ways at once store a span once", async () => {
    const exporter = new AuditRoutingExporter({ ...PATIENT, clickhouse: engine.writer, dataDir });
    const provider = new TracerProvider({
      spanProcessors: [new AuditSpanProcessor(exporter), new BatchSpanProcessor({ exporter })],
    });
    const span = provider.getTracer("t").startSpan("a", { attributes: audit() });
    expect(span.spanContext().traceFlags).toBe(TraceFlags.SAMPLED);
    span.end();
    await provider.forceFlush();
    await provider.shutdown();
    expect(await stored("count() AS n")).toEqual([{ n: 1 }]);
  });
});
