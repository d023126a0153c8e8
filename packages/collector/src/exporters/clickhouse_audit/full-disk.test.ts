// Log and embedded engine on one disk: what is acknowledged reaches the table although the disk is as full as it may get.
import { randomBytes } from "node:crypto";
import { readdirSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import pino from "pino";
import { expect, it } from "vitest";
import { mountSmallDisk, tempDir } from "../../../../../test/support/index.ts";
import { Collector } from "../../service/collector.ts";
import { auditSpan, requestOf } from "../../testing/spans.ts";

const MIB = 1024 * 1024;

const config = (reserve: number): string => `
receivers: { otlp: { protocols: { http: { endpoint: "127.0.0.1:0" } } } }
extensions: { clickhouse_embedded: { endpoint: "127.0.0.1:0" }, health_check: { endpoint: "127.0.0.1:0" } }
exporters:
  clickhouse_audit: { engine: clickhouse_embedded, log: { min_free_bytes: ${reserve} }, segment: { max_age: 1h } }
service:
  extensions: [clickhouse_embedded, health_check]
  pipelines: { traces: { receivers: [otlp], exporters: [clickhouse_audit] } }
  telemetry: { metrics: { address: "127.0.0.1:0" } }
`;

function request(id: number): Uint8Array<ArrayBuffer> {
  // Not to be compressed by the engine.
  return requestOf(Array.from({ length: 8 }, (_, i) => auditSpan(`${id}-${i}`, randomBytes(24_000).toString("hex"))));
}

/** Files of the log that wait for the table. */
function segments(dataDir: string): string[] {
  const names = readdirSync(join(dataDir, "log"), { recursive: true, encoding: "utf8" });
  return names.filter((name) => /\.(open|segment)$/.test(name));
}

it("refuses with a reason while a reserve is left, and brings what it has taken into the table", async () => {
  const small = mountSmallDisk("256m");
  const dataDir = join(small?.dir ?? tempDir("full-disk"), "data");
  const free = (): number => {
    const { bavail, bsize } = statfsSync(dataDir);
    return bavail * bsize;
  };
  const first = statfsSync(small?.dir ?? tempDir("full-disk"));
  // Where nothing can be mounted the real disk is said to be full a little below what is free now.
  const reserve = small ? 48 * MIB : first.bavail * first.bsize - 400 * MIB;
  const collector = await Collector.start(config(reserve), { dataDir, log: pino({ level: "silent" }) });
  try {
    if (small) writeFileSync(join(small.dir, "ballast"), Buffer.alloc(free() - reserve - 12 * MIB));
    let taken = 0;
    let refused: Response | undefined;
    while (refused === undefined) {
      const response = await fetch(`${collector.endpoints.otlpHttp}/v1/traces`, {
        method: "POST",
        headers: { "content-type": "application/x-protobuf" },
        body: request(taken),
      });
      if (response.status === 200) taken++;
      else refused = response;
    }
    expect([refused.status, refused.headers.has("retry-after")]).toEqual([503, true]);
    expect(taken).toBeGreaterThan(10);
    const health = async (): Promise<string> => (await fetch(collector.endpoints.health!)).text();
    await expect.poll(health).toContain(`${reserve} (exporters::clickhouse_audit::log::min_free_bytes) are kept`);
    // Closed, inserted, counted and only then removed, without anybody making room. A real disk has room for
    // several segments, of which all may be gone by now.
    expect(segments(dataDir).length).toBeGreaterThanOrEqual(small ? 1 : 0);
    await collector.shutdown();
    expect(segments(dataDir)).toEqual([]);
  } finally {
    await collector.shutdown();
    small?.remove();
  }
});
