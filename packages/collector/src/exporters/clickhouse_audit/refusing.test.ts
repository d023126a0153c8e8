import { encodeTraces, scanTraces } from "@otel-audit/otlp";
import { expect, it } from "vitest";
import { tempDir } from "../../../../../test/support/index.ts";
import { testContext, testSupervision, together } from "../../testing/context.ts";
import { TraceBatch } from "../../trace-batch.ts";
import { clickhouseAuditFactory } from "./factory.ts";

function batch(id: number): TraceBatch {
  const span = {
    traceId: "0af7651916cd43dd8448eb211c80319c",
    spanId: "b7ad6b7169203331",
    name: "n",
    startTimeUnixNano: 1n,
    endTimeUnixNano: 2n,
    attributes: { "audit.action": "READ", "audit.record.id": `${id}`, note: "x".repeat(100_000) },
  };
  return TraceBatch.of(scanTraces(encodeTraces({ resourceSpans: [{ scopeSpans: [{ spans: [span] }] }] })));
}

it("is not healthy while it refuses records, and is again when nobody is refused any more", async () => {
  const dataDir = tempDir("refusing");
  const { context, told } = testSupervision("clickhouse_audit", { dataDir });
  const config = clickhouseAuditFactory.schema.parse({
    endpoint: "http://127.0.0.1:1",
    log: { max_bytes: 1024 * 1024 },
    segment: { max_age: "1h" },
    shutdown_timeout: 0,
  });
  const inWorker = testContext("clickhouse_audit", { dataDir, told });
  const supervised = clickhouseAuditFactory.supervise!(config, context);
  const exporter = together(supervised, clickhouseAuditFactory.create(config, inWorker));
  await exporter.start();
  const problem = (): string => inWorker.health.problems().get("clickhouse_audit") ?? "";
  expect(problem()).not.toContain("refused");
  const fill = async (): Promise<void> => {
    for (let id = 0; id < 100; id++) await exporter.consume(batch(id));
  };
  await expect(fill()).rejects.toMatchObject({ code: "LOG_FULL" });
  expect(problem()).toMatch(/records are refused: .*1048576/);
  // Those who go by the health send nothing more: only time can tell.
  await expect.poll(problem).not.toContain("refused");
  await exporter.shutdown();
});
