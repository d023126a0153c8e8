// A start with a ClickHouse that takes connections and never answers: records are taken all the same.
import { createServer, type Socket } from "node:net";
import { encodeTraces } from "@otel-audit/otlp";
import pino from "pino";
import { expect, it } from "vitest";
import { tempDir } from "../../../../../test/support/index.ts";
import { listen } from "../../../../../test/support/listen.ts";
import { Collector } from "../../service/collector.ts";

function config(endpoint: string): string {
  return `receivers: { otlp: { protocols: { http: { endpoint: "127.0.0.1:0" } } } }
exporters:
  clickhouse_audit: { endpoint: "${endpoint}", shutdown_timeout: 0 }
  clickhouse_traces: { endpoint: "${endpoint}" }
service:
  pipelines: { traces: { receivers: [otlp], exporters: [clickhouse_audit, clickhouse_traces] } }
  telemetry: { metrics: { address: "127.0.0.1:0" } }
`;
}

const span = {
  traceId: "0af7651916cd43dd8448eb211c80319c",
  spanId: "b7ad6b7169203331",
  name: "n",
  startTimeUnixNano: 1n,
  endTimeUnixNano: 2n,
  attributes: { "audit.action": "READ", "audit.record.id": "r" },
};

it("starts and acknowledges while ClickHouse never answers, and stops", async () => {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => sockets.add(socket));
  const endpoint = `http://127.0.0.1:${await listen(server)}`;
  const log = pino({ level: "silent" });
  const collector = await Collector.start(config(endpoint), { dataDir: tempDir("never-answers"), log });
  try {
    const response = await fetch(`${collector.endpoints.otlpHttp}/v1/traces`, {
      method: "POST",
      headers: { "content-type": "application/x-protobuf" },
      body: Buffer.from(encodeTraces({ resourceSpans: [{ scopeSpans: [{ spans: [span] }] }] })),
    });
    expect(response.status).toBe(200);
    expect(sockets.size).toBeGreaterThan(0);
  } finally {
    await collector.shutdown();
    for (const socket of sockets) socket.destroy();
    server.close();
  }
}, 40_000);
