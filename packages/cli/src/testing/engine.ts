import { createClient } from "@clickhouse/client";
import { EmbeddedEngine } from "@otel-audit/exporter-clickhouse";
import { randomUUID } from "node:crypto";

/** Columns of `audit_events`; what is left out has its default. */
export type TableRow = Readonly<Record<string, string | number | readonly string[]>>;

/** A data directory with an embedded engine that holds these rows. The caller stops it. */
export async function engineWith(dataDir: string, rows: readonly TableRow[], token?: string): Promise<EmbeddedEngine> {
  const engine = await EmbeddedEngine.start({ dataDir, ...(token !== undefined && { token }) });
  await insertRows(engine, rows);
  return engine;
}

export async function insertRows(engine: EmbeddedEngine, rows: readonly TableRow[]): Promise<void> {
  const client = createClient({ ...engine.writer });
  const StreamId = randomUUID();
  try {
    await client.insert({
      table: "audit_events",
      format: "JSONEachRow",
      values: rows.map((row, i) => ({
        RowFormat: 1,
        StreamId,
        Sequence: i,
        ReceivedAt: "2026-11-21 10:00:00",
        Timestamp: "2026-11-21 10:00:00.123456789",
        ContentHash: "0123456789abcdef",
        RecordId: `record-${StreamId}-${i}`,
        Provenance: "asserted",
        ...row,
      })),
    });
  } finally {
    await client.close();
  }
}
