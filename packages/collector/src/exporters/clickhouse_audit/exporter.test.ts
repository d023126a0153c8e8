// Requests of many records, into a ledger in front of a ClickHouse that is away.
import { Ledger } from "@otel-audit/ledger";
import { afterEach, expect, it } from "vitest";
import { tempDir } from "../../../../../test/support/index.ts";
import { testContext, testSupervision, together } from "../../testing/context.ts";
import type { TraceBatch } from "../../trace-batch.ts";
import { clickhouseAuditConfig } from "./config.ts";
import { AuditDirectory } from "./directory.ts";
import { ClickhouseAuditExporter } from "./exporter.ts";
import { auditSpan, batchOf } from "../../testing/spans.ts";

const MANY = 25_000;

const running = new Set<ClickhouseAuditExporter>();
afterEach(async () => {
  for (const exporter of running) await exporter.shutdown();
  running.clear();
});

async function start(
  dataDir: string,
  maxLogBytes: number,
): Promise<{ exporter: ClickhouseAuditExporter; counts: () => Promise<Record<"stored" | "repeated", number>> }> {
  const config = clickhouseAuditConfig.parse({
    endpoint: "http://127.0.0.1:1",
    shutdown_timeout: 0,
    log: { max_bytes: maxLogBytes },
  });
  const { context: supervisor, told } = testSupervision("clickhouse_audit", { dataDir });
  const context = testContext("clickhouse_audit", { dataDir, told });
  const exporter = together(new AuditDirectory(config, supervisor), new ClickhouseAuditExporter(config, context));
  await exporter.start();
  running.add(exporter);
  const { records, duplicates } = context.telemetry;
  const counts = async (): Promise<Record<"stored" | "repeated", number>> => ({
    stored: (await records.get()).values[0]!.value,
    repeated: (await duplicates.get()).values[0]!.value,
  });
  return { exporter, counts };
}

function batch(records: number, prefix = "r"): TraceBatch {
  return batchOf(Array.from({ length: records }, (_, i) => auditSpan(`${prefix}${i}`)));
}

it.each(["new", "repeated"])("other requests are answered while one of many %s records is under way", async (kind) => {
  const { exporter, counts } = await start(tempDir("large"), 1024 ** 3);
  const large = batch(MANY, "repeated");
  if (kind === "repeated") await exporter.consume(large);
  const answered: string[] = [];
  const note = (name: string) => (): void => void answered.push(name);
  const both = [
    exporter.consume(large).then(note("large")),
    new Promise(setImmediate).then(() => exporter.consume(batch(1, kind))).then(note("small")),
  ];
  await Promise.all(both);
  expect(answered).toEqual(["small", "large"]);
  // A repeated one waits for no disk, and neither do those of the large request.
  const expected = kind === "repeated" ? { stored: MANY, repeated: MANY + 1 } : { stored: MANY + 1, repeated: 0 };
  expect(await counts()).toEqual(expected);
});

it("a request that is refused between its parts is stored once when it comes again", async () => {
  const dataDir = tempDir("refused-part");
  const small = await start(dataDir, 4 * 1024 ** 2);
  await expect(small.exporter.consume(batch(MANY))).rejects.toMatchObject({ code: "LOG_FULL" });
  const { stored } = await small.counts();
  expect(stored).toBeGreaterThan(0);
  expect(stored).toBeLessThan(MANY);
  await small.exporter.shutdown();
  const large = await start(dataDir, 1024 ** 3);
  await large.exporter.consume(batch(MANY));
  expect(await large.counts()).toEqual({ stored: MANY - stored, repeated: stored });
  await large.exporter.shutdown();
  const ledger = await Ledger.open({ dir: dataDir });
  expect(ledger.closedSegments().reduce((sum, { count }) => sum + count, 0)).toBe(MANY);
  await ledger.close();
});
