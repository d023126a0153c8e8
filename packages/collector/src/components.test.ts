import { ATTR_AUDIT_ACTION } from "@otel-audit/semantic-conventions";
import { EmbeddedEngine } from "@otel-audit/exporter-clickhouse";
import { encodeTraces, scanTraces } from "@otel-audit/otlp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startOtlpSink, tempDir, type OtlpSink } from "../../../test/support/index.ts";
import type { Component, Consumer, Exporter } from "./component.ts";
import { TraceBatch } from "./trace-batch.ts";
import { factories, type ComponentKind } from "./components.ts";
import type { EngineConnection } from "./extensions/clickhouse_embedded/connection.ts";
import type { ClickhouseEmbedded } from "./extensions/clickhouse_embedded/engine.ts";
import type { HealthCheck } from "./extensions/health_check/health-check.ts";
import { Telemetry } from "./service/telemetry.ts";
import { testContext, testSupervision, together } from "./testing/context.ts";

/** An engine that died is noticed, waited for and started: on a slow machine that takes its time. */
const ENGINE_STARTS = { timeout: 50_000 };

// One suite that every component passes: create, stop without start, start, consume, stop twice.

let sink: OtlpSink;
let engine: EmbeddedEngine;
beforeAll(async () => {
  sink = await startOtlpSink();
  engine = await EmbeddedEngine.start({ dataDir: tempDir("components"), port: 0 });
});
afterAll(async () => {
  await engine.stop();
  await sink.close();
});

/** A configuration with which each component runs here, by type. */
const CONFIGS: Readonly<Record<string, () => unknown>> = {
  otlp: () => ({ protocols: { http: { endpoint: "127.0.0.1:0" } } }),
  audit_credentials: () => ({ credentials: [{ id: "a", token_sha256: "ab".repeat(32), agents: ["a"] }] }),
  audit: () => ({ classify: { services: ["*"] } }),
  audit_router: () => ({ audit: ["traces/next"] }),
  clickhouse_audit: () => destination(),
  clickhouse_traces: () => destination(),
  otlphttp: () => ({ endpoint: sink.url }),
  otlp_http: () => ({ endpoint: sink.url }),
  memory_limiter: () => ({ limit_mib: 100_000 }),
  health_check: () => ({ endpoint: "127.0.0.1:0" }),
  clickhouse_embedded: () => ({ endpoint: "127.0.0.1:0" }),
};

const destination = (): unknown => ({
  endpoint: engine.url,
  username: engine.writer.username,
  password: engine.writer.password,
  create_schema: false,
});
const next: Consumer = { consume: async () => [] };

function create(
  kind: ComponentKind,
  type: string,
  telemetry: Telemetry = new Telemetry("test"),
): Component & Partial<Consumer> {
  const factory = factories(kind).get(type)!;
  const config = factory.schema.parse(CONFIGS[type]!());
  const dataDir = tempDir("component");
  const id = `${type}/named`;
  const supervision = testSupervision(id, { dataDir, telemetry });
  const supervised = factory.supervise?.(config, supervision.context);
  const context = testContext(id, { dataDir, telemetry, told: supervision.told });
  switch (factory.kind) {
    case "receiver":
      return together(supervised, factory.create(config, { traces: next }, context));
    case "processor":
      return together(supervised, factory.create(config, next, context));
    case "connector":
      return together(supervised, factory.create(config, new Map([["traces/next", next]]), context));
    case "exporter":
      return together(supervised, factory.create(config, context));
    default:
      return factory.create ? together(supervised, factory.create(config, context)) : supervised!;
  }
}

function batch(): TraceBatch {
  // oxlint-disable-next-line unicorn/consistent-function-scoping -- of use nowhere else
  const span = (id: string, attributes: Record<string, string>): object => ({
    traceId: "0af7651916cd43dd8448eb211c80319c",
    spanId: id,
    name: "s",
    startTimeUnixNano: 1n,
    endTimeUnixNano: 2n,
    attributes,
  });
  const spans = [span("0000000000000001", { [ATTR_AUDIT_ACTION]: "READ" }), span("0000000000000002", {})] as never[];
  return TraceBatch.of(scanTraces(encodeTraces({ resourceSpans: [{ scopeSpans: [{ spans }] }] })));
}

const KINDS: readonly ComponentKind[] = ["receiver", "processor", "connector", "exporter", "extension"];

describe.each(KINDS.flatMap((kind) => [...factories(kind).keys()].map((type) => [kind, type] as const)))(
  "%s %s",
  (kind, type) => {
    it("can be stopped without having been started", async () => {
      await expect(create(kind, type).shutdown()).resolves.toBeUndefined();
    });

    it("starts, consumes, and stops twice", async () => {
      const component = create(kind, type);
      await component.start();
      expect(await component.consume?.(batch())).toEqual(component.consume && []);
      await component.shutdown();
      await expect(component.shutdown()).resolves.toBeUndefined();
    });

    it("counts under its own id and kind, with every name in lower case", async () => {
      const telemetry = new Telemetry("test");
      const component = create(kind, type, telemetry);
      await component.start();
      await component.consume?.(batch());
      await component.shutdown();
      for (const { name, values } of await telemetry.snapshot()) {
        expect(name).toMatch(/^[a-z_]+$/);
        const labels = values
          .flatMap((one) => Object.entries(one.labels))
          .filter(([label]) => KINDS.some((one) => one === label));
        for (const [label, value] of labels)
          expect({ name, label, value }).toEqual({ name, label: kind, value: `${type}/named` });
      }
    });

    it("refuses a setting that it does not know", () => {
      const parsed = factories(kind)
        .get(type)!
        .schema.safeParse({ ...(CONFIGS[type]!() as object), surprise: 1 });
      expect(parsed.success).toBe(false);
    });
  },
);

it("lets go of everything when the audit exporter cannot start, and refuses what comes after its end", async () => {
  const dataDir = tempDir("locked");
  const factory = factories("exporter").get("clickhouse_audit")!;
  const config = factory.schema.parse(destination());
  const make = (): Exporter => {
    const { context, told } = testSupervision("clickhouse_audit", { dataDir });
    const supervised = factory.supervise!(config, context);
    return together(supervised, factory.create(config, testContext("clickhouse_audit", { dataDir, told })));
  };
  const first = make();
  await first.start();
  expect(await first.consume(batch())).toEqual([]);
  await first.shutdown();
  await expect(first.consume(batch())).rejects.toMatchObject({ code: "UNAVAILABLE" });
  const third = make();
  await third.start();
  await third.shutdown();
});

it("tells that an address is taken", async () => {
  const factory = factories("extension").get("health_check")!;
  const make = (endpoint: string): Component =>
    factory.supervise!(factory.schema.parse({ endpoint }), testSupervision("health_check").context);
  const first = make("127.0.0.1:0") as HealthCheck;
  await first.start();
  const { host, port } = new URL(first.endpoint!);
  await expect(make(host).start()).rejects.toMatchObject({
    code: "ADDRESS_IN_USE",
    message: expect.stringContaining(`127.0.0.1:${port} is in use by process ${process.pid}`) as string,
  });
  await first.shutdown();
});

it("keeps an embedded engine running", async () => {
  const { context, told } = testSupervision("clickhouse_embedded", { dataDir: tempDir("engine") });
  const factory = factories("extension").get("clickhouse_embedded")!;
  const config = factory.schema.parse({ endpoint: "127.0.0.1:0" });
  const component = factory.supervise!(config, context) as ClickhouseEmbedded;
  const inWorker = factory.create!(config, testContext("clickhouse_embedded", { told })) as EngineConnection;
  expect(() => inWorker.connection).toThrow("not running");
  await component.start();
  const before = inWorker.connection;
  const { endpoint, pid } = component;
  process.kill(pid!, "SIGKILL");
  await expect.poll(() => component.pid, ENGINE_STARTS).not.toBe(pid);
  await expect.poll(() => component.endpoint, ENGINE_STARTS).toBe(endpoint);
  expect(context.health.problems().size).toBe(0);
  expect(inWorker.connection).toEqual(component.connection);
  expect(inWorker.connection.password).not.toBe(before.password);
  await component.shutdown();
});
