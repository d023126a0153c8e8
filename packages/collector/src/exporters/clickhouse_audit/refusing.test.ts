import { expect, it } from "vitest";
import { tempDir } from "../../../../../test/support/index.ts";
import { testContext, testSupervision, together } from "../../testing/context.ts";
import { clickhouseAuditFactory } from "./factory.ts";
import { auditSpan, batchOf } from "../../testing/spans.ts";

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
    for (let id = 0; id < 100; id++) await exporter.consume(batchOf([auditSpan(`${id}`, "x".repeat(100_000))]));
  };
  await expect(fill()).rejects.toMatchObject({ code: "LOG_FULL" });
  expect(problem()).toMatch(/records are refused: .*1048576/);
  // Those who go by the health send nothing more: only time can tell.
  await expect.poll(problem).not.toContain("refused");
  await exporter.shutdown();
});
