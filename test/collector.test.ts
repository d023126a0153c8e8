// The collector as it is started by a user, in a process of its own, with the embedded engine and a real OTLP backend for
// debug spans: what is split, what is kept over kill -9, and what a producer cannot say.
import { OTLPTraceExporter as JsonExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { OTLPTraceExporter as ProtoExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { TracerProvider, BatchSpanProcessor } from "@opentelemetry/sdk-trace";
import { encodeTraces, type SpanData } from "@otel-audit/otlp";
import { ATTR_AUDIT_ACTION, ATTR_AUDIT_ACTOR_ID, COLLECTOR_ONLY_ATTRIBUTES } from "@otel-audit/semantic-conventions";
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startCollector, startOtlpSink, tempDir, type OtlpSink, type RunningCollector } from "./support/index.ts";

const CONFIG = fileURLToPath(new URL("collector.yaml", import.meta.url));
const POLICY =
  "policy: strict\nmode: observe\ndefault: allow\nresources:\n  cards: { db: '**/public.cards' }\nrules:\n  - { id: no-cards, deny: { resource: cards } }\n";

let sink: OtlpSink;
let policyFile: string;
beforeAll(async () => {
  sink = await startOtlpSink();
  policyFile = join(tempDir("policy"), "policy.yaml");
  writeFileSync(policyFile, POLICY);
});
afterAll(() => sink.close());

function start(dataDir: string, env: Record<string, string> = {}): Promise<RunningCollector> {
  return startCollector({
    dataDir,
    config: CONFIG,
    env: { TEST_DEBUG_BACKEND: sink.url, TEST_POLICY: policyFile, ...env },
  });
}

function auditAttributes(id: string): Record<string, string> {
  return {
    "audit.event.name": "file.read",
    [ATTR_AUDIT_ACTION]: "READ",
    "audit.outcome": "success",
    [ATTR_AUDIT_ACTOR_ID]: "tester",
    "audit.actor.type": "agent",
    "audit.record.id": id,
  };
}

function auditSpan(id: string, attributes: Record<string, string> = {}): SpanData {
  return {
    traceId: randomBytes(16).toString("hex"),
    spanId: randomBytes(8).toString("hex"),
    name: "file.read",
    startTimeUnixNano: BigInt(Date.now()) * 1_000_000n,
    endTimeUnixNano: BigInt(Date.now()) * 1_000_000n,
    attributes: { ...auditAttributes(id), ...attributes },
  };
}

function request(spans: readonly SpanData[]): Uint8Array {
  return encodeTraces({
    resourceSpans: [
      {
        resource: { attributes: { "service.name": "test" } },
        scopeSpans: [{ scope: { name: "test" }, spans: [...spans] }],
      },
    ],
  });
}

/** True when the collector has acknowledged. */
async function send(collector: RunningCollector, spans: readonly SpanData[]): Promise<boolean> {
  const response = await fetch(`${collector.endpoints.otlpHttp}/v1/traces`, {
    method: "POST",
    headers: { "content-type": "application/x-protobuf" },
    body: Buffer.from(request(spans)),
  });
  return response.status === 200;
}

interface Stored {
  readonly RecordId: string;
  readonly copies: string;
}
const stored = (prefix: string): string =>
  `SELECT RecordId, toString(count()) AS copies FROM otel_audit.audit_events WHERE startsWith(RecordId, '${prefix}') GROUP BY RecordId`;

/** The ids of the table that start with `prefix`, when there are at least `count`; each is there once or the test fails. */
async function storedOnce(collector: RunningCollector, prefix: string, count: number): Promise<Set<string>> {
  await expect
    .poll(async () => (await collector.sql<Stored>(stored(prefix)).catch(() => [])).length, {
      timeout: 120_000,
      interval: 200,
    })
    .toBeGreaterThanOrEqual(count);
  const rows = await collector.sql<Stored>(stored(prefix));
  expect(rows.filter(({ copies }) => copies !== "1")).toEqual([]);
  return new Set(rows.map(({ RecordId }) => RecordId));
}

describe("a running collector", () => {
  let collector: RunningCollector;
  beforeAll(async () => {
    collector = await start(tempDir("collector"));
  });
  afterAll(() => collector[Symbol.asyncDispose]());

  it.each([
    ["JSON", JsonExporter],
    ["protobuf", ProtoExporter],
  ])("takes what the official exporter sends (%s) and splits it", async (name, Exporter) => {
    sink.clear();
    const exporter = new Exporter({ url: `${collector.endpoints.otlpHttp}/v1/traces` });
    const provider = new TracerProvider({ spanProcessors: [new BatchSpanProcessor({ exporter })] });
    const tracer = provider.getTracer("app");
    for (let i = 0; i < 20; i++) {
      tracer.startSpan(`${name} debug ${i}`).end();
      tracer
        .startSpan(`${name} audit ${i}`, {
          attributes: auditAttributes(`${name}-${i}`),
        })
        .end();
    }
    await provider.forceFlush();
    await provider.shutdown();
    await sink.waitForSpans(20);
    expect(sink.spans.map((span) => span.name).toSorted()).toEqual(
      Array.from({ length: 20 }, (_, i) => `${name} debug ${i}`).toSorted(),
    );
    const ids = await storedOnce(collector, `${name}-`, 20);
    for (let i = 0; i < 20; i++) expect(ids).toContain(`${name}-${i}`);
    const [row] = await collector.sql<{ SpanName: string; ServiceName: string }>(
      `SELECT SpanName, ServiceName FROM otel_audit.audit_events WHERE RecordId = '${name}-3'`,
    );
    expect(row).toMatchObject({ SpanName: `${name} audit 3` });
    expect(await collector.sql("SELECT 1 FROM otel_audit.audit_events WHERE SpanName LIKE '%debug%'")).toEqual([]);
  });

  it("does not believe a producer what only a collector may say", async () => {
    const forged = Object.fromEntries(COLLECTOR_ONLY_ATTRIBUTES.map((key) => [key, "forged"]));
    expect(
      await send(collector, [
        auditSpan("forged", {
          ...forged,
          "audit.policy.decision": "allow",
          "audit.target.type": "database.table",
          "audit.target.id": "postgresql://db/app/public.cards",
        }),
      ]),
    ).toBe(true);
    await expect
      .poll(async () => collector.sql("SELECT 1 FROM otel_audit.audit_events WHERE RecordId = 'forged'"))
      .toHaveLength(1);
    const [row] = await collector.sql<Record<string, unknown>>(
      "SELECT * FROM otel_audit.audit_events WHERE RecordId = 'forged'",
    );
    expect(row).toMatchObject({
      Provenance: "asserted",
      Principal: "",
      TenantId: "",
      PolicyDecision: "allow",
      CollectorDecision: "deny",
      CollectorPolicyRule: "no-cards",
    });
    expect(
      Object.entries(row!)
        .filter(([, value]) => JSON.stringify(value).includes("forged"))
        .map(([key]) => key),
    ).toEqual(["RecordId"]);
    const [verdict] = await collector.sql(
      "SELECT EffectiveDecision, Violation FROM otel_audit.audit_events WHERE RecordId = 'forged'",
    );
    expect(verdict).toMatchObject({ EffectiveDecision: "deny" });
  });

  it.each(["process.start", "policy.loaded", "review.decided"])(
    "judges what calls itself %s and names a resource",
    async (event) => {
      const id = `escape-${event}`;
      const attributes = {
        "audit.event.name": event,
        "audit.action": "DELETE",
        "audit.target.type": "database.table",
        "audit.target.id": "postgresql://db/app/public.cards",
        "audit.policy.decision": "allow",
      };
      expect(await send(collector, [auditSpan(id, attributes)])).toBe(true);
      const rows = (): Promise<unknown[]> =>
        collector.sql(
          `SELECT EffectiveDecision, Violation, Provenance FROM otel_audit.audit_events WHERE RecordId = '${id}'`,
        );
      await expect.poll(rows).toEqual([{ EffectiveDecision: "deny", Violation: true, Provenance: "asserted" }]);
    },
  );

  it("records its own policy with its text", async () => {
    await expect
      .poll(async () =>
        collector.sql(
          "SELECT 1 FROM otel_audit.audit_events WHERE EventName = 'policy.loaded' AND Provenance = 'verified'",
        ),
      )
      .toHaveLength(1);
    const [row] = await collector.sql<{ text: string }>(
      "SELECT SpanAttributes['audit.policy.document'] AS text FROM otel_audit.audit_events WHERE EventName = 'policy.loaded' AND Provenance = 'verified'",
    );
    expect(row!.text).toBe(POLICY);
  });

  it("stores a repeated record once, and one with other content beside it", async () => {
    const span = auditSpan("again");
    for (let i = 0; i < 3; i++) expect(await send(collector, [span])).toBe(true);
    expect(await send(collector, [{ ...span, name: "other content" }])).toBe(true);
    await expect
      .poll(async () => collector.sql("SELECT SpanName FROM otel_audit.audit_events WHERE RecordId = 'again'"))
      .toHaveLength(2);
    const metrics = async (): Promise<string> => (await fetch(`${collector.endpoints.metrics}/metrics`)).text();
    await expect.poll(metrics).toMatch(/otel_audit_duplicates\{[^}]*\} 2\n/);
    await expect.poll(metrics).toMatch(/otel_audit_conflicts\{[^}]*\} 1\n/);
    expect(await metrics()).toMatch(
      /otelcol_receiver_accepted_spans\{[^}]*receiver="otlp",transport="http"[^}]*\} \d+/,
    );
    await collector.sql("SELECT count() FROM otel_audit.audit_events WHERE RecordId = 'again'");
  });

  it("keeps the other 511 when one span of 512 is broken", async () => {
    const spans = Array.from({ length: 512 }, (_, i) => auditSpan(`of-512-${i}`));
    const bytes = Buffer.from(request(spans));
    // The trace id of one span becomes a byte shorter: its field is 0x0a 0x10, and the last byte a field of its own.
    const id = Buffer.from(spans[100]!.traceId, "hex");
    const at = bytes.indexOf(id) - 1;
    bytes[at] = 14;
    bytes.set([0x78, 0x01], at + 1 + 14);
    const response = await fetch(`${collector.endpoints.otlpHttp}/v1/traces`, {
      method: "POST",
      headers: { "content-type": "application/x-protobuf" },
      body: bytes,
    });
    expect(response.status).toBe(200);
    expect(Buffer.from(await response.arrayBuffer()).toString()).toContain("malformed");
    await expect
      .poll(
        async () =>
          (
            await collector.sql<{ n: string }>(
              "SELECT toString(count()) AS n FROM otel_audit.audit_events WHERE RecordId LIKE 'of-512-%'",
            )
          )[0]!.n,
      )
      .toBe("511");
  });

  it("answers for its health", async () => {
    const response = await fetch(collector.endpoints.health!);
    expect([response.status, await response.json()]).toEqual([200, { status: "Server available" }]);
  });
});

/** Of the engine, while records come in. */
const KILLS = 3;

describe("kill -9", () => {
  it("of the collector between acknowledgement and insert loses and doubles nothing", async () => {
    const dataDir = tempDir("kill");
    const sent: string[] = [];
    // Segments stay open for a minute: what is acknowledged is in the log only.
    for (let round = 0; round < 3; round++) {
      await using collector = await start(dataDir, { TEST_SEGMENT_AGE: "60000" });
      for (let i = 0; i < 20; i++) {
        const ids = Array.from({ length: 10 }, (_, n) => `kill-${round}-${i}-${n}`);
        expect(
          await send(
            collector,
            ids.map((id) => auditSpan(id)),
          ),
        ).toBe(true);
        sent.push(...ids);
      }
      await collector.process.kill("SIGKILL");
    }
    await using collector = await start(dataDir);
    expect(await storedOnce(collector, "kill-", sent.length)).toEqual(new Set(sent));
  }, 180_000);

  it("of the engine during inserts loses and doubles nothing", async () => {
    await using collector = await start(tempDir("kill-engine"), { TEST_SEGMENT_AGE: "20" });
    const acknowledged: string[] = [];
    const killed: number[] = [];
    const killer = (async () => {
      while (killed.length < KILLS) {
        await sleep(500 + Math.random() * 1_000);
        const pid = await enginePid(collector);
        if (pid === undefined) continue;
        process.kill(pid, "SIGKILL");
        killed.push(pid);
      }
    })();
    for (let i = 0; killed.length < KILLS; i++) {
      const ids = Array.from({ length: 50 }, (_, n) => `engine-${i}-${n}`);
      if (
        await send(
          collector,
          ids.map((id) => auditSpan(id)),
        )
      )
        acknowledged.push(...ids);
      await sleep(5);
    }
    await killer;
    expect(await storedOnce(collector, "engine-", acknowledged.length)).toEqual(new Set(acknowledged));
  }, 180_000);
});

/** The engine is the collector's only child process. */
async function enginePid(collector: RunningCollector): Promise<number | undefined> {
  const parent = collector.process.pid;
  const children =
    process.platform === "linux"
      ? readFile(`/proc/${parent}/task/${parent}/children`, "utf8")
      : promisify(execFile)("pgrep", ["-P", String(parent)]).then(({ stdout }) => stdout);
  const pid = Number((await children.catch(() => "")).trim().split(/\s/)[0]);
  return pid > 0 ? pid : undefined;
}
