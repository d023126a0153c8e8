// Stands in for the peer where there is no official collector: one as it is usually written. It decodes every request to
// objects, splits them, writes audit spans as JSON lines to a synced log and inserts them as JSONEachRow, and encodes debug
// spans again to forward them. `node objects.ts <data directory>` prints where it listens (OTLP/HTTP, gzip).
import { createClient } from "@clickhouse/client";
import { open } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import protobuf from "protobufjs";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";

interface Attribute {
  readonly key: string;
  readonly value?: {
    readonly stringValue?: string;
    readonly intValue?: number;
    readonly boolValue?: boolean;
    readonly doubleValue?: number;
  };
}
interface Span {
  readonly traceId: Uint8Array;
  readonly spanId: Uint8Array;
  readonly parentSpanId?: Uint8Array;
  readonly name?: string;
  readonly startTimeUnixNano?: { toString(): string };
  readonly endTimeUnixNano?: { toString(): string };
  readonly attributes?: readonly Attribute[];
}
interface ScopeSpans {
  readonly scope?: object;
  spans?: Span[];
}
interface ResourceSpans {
  readonly resource?: { readonly attributes?: readonly Attribute[] };
  readonly scopeSpans?: ScopeSpans[];
}

const { CLICKHOUSE_URL, CLICKHOUSE_USER, CLICKHOUSE_PASSWORD, DEBUG_BACKEND } = process.env;
const root = await protobuf.load(fileURLToPath(new URL("../../test/proto/otlp-trace.proto", import.meta.url)));
const type = root.lookupType("otlp.Request");
const client = createClient({
  url: CLICKHOUSE_URL!,
  username: CLICKHOUSE_USER!,
  password: CLICKHOUSE_PASSWORD!,
  database: "otel_audit",
});
const log = await open(join(process.argv[2]!, "objects.log"), "a");
let rows: object[] = [];

setInterval(() => {
  const values = rows;
  rows = [];
  if (values.length === 0) return;
  const settings = { async_insert: 0 } as const;
  void client.insert({ table: "audit_events", values, format: "JSONEachRow", clickhouse_settings: settings });
}, 1_000);

async function handle(body: Buffer): Promise<void> {
  const request = type.decode(body) as unknown as { resourceSpans?: ResourceSpans[] };
  const audit: object[] = [];
  for (const { resource, scopeSpans } of request.resourceSpans ?? []) {
    const resourceAttributes = toMap(resource?.attributes);
    for (const scope of scopeSpans ?? []) {
      const debug: Span[] = [];
      for (const span of scope.spans ?? []) {
        if (span.attributes?.some(({ key }) => key === "audit.action")) audit.push(toRow(span, resourceAttributes));
        else debug.push(span);
      }
      scope.spans = debug;
    }
  }
  await log.write(audit.map((row) => `${JSON.stringify(row)}\n`).join(""));
  await log.datasync();
  rows.push(...audit);
  const forwarded = Buffer.from(type.encode(type.fromObject(request)).finish());
  const headers = { "content-type": "application/x-protobuf" };
  void fetch(`${DEBUG_BACKEND}/v1/traces`, { method: "POST", headers, body: forwarded });
}

const server = createServer((incoming, response) => {
  const chunks: Buffer[] = [];
  incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
  incoming.on("end", () => {
    const body = Buffer.concat(chunks);
    handle(incoming.headers["content-encoding"] === "gzip" ? gunzipSync(body) : body).then(
      () => response.writeHead(200, { "content-type": "application/x-protobuf" }).end(),
      (error: unknown) => response.writeHead(500).end(String(error)),
    );
  });
});
server.listen(0, "127.0.0.1", () => {
  process.stdout.write(`http://127.0.0.1:${(server.address() as AddressInfo).port}\n`);
});

function toMap(attributes: readonly Attribute[] = []): Record<string, string> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, valueText(value)]));
}

function valueText(value: Attribute["value"]): string {
  return value?.stringValue ?? String(value?.intValue ?? value?.boolValue ?? value?.doubleValue ?? "");
}

function toRow(span: Span, resourceAttributes: Record<string, string>): object {
  const attributes = toMap(span.attributes);
  return {
    Timestamp: span.startTimeUnixNano?.toString(),
    TraceId: Buffer.from(span.traceId).toString("hex"),
    SpanId: Buffer.from(span.spanId).toString("hex"),
    ParentSpanId: Buffer.from(span.parentSpanId ?? []).toString("hex"),
    SpanName: span.name,
    ServiceName: resourceAttributes["service.name"],
    ResourceAttributes: resourceAttributes,
    SpanAttributes: attributes,
    EventName: attributes["audit.event.name"],
    Action: attributes["audit.action"],
    Outcome: attributes["audit.outcome"],
    ActorId: attributes["audit.actor.id"],
    ActorType: attributes["audit.actor.type"],
    TargetType: attributes["audit.target.type"],
    TargetId: attributes["audit.target.id"],
    PolicyDecision: attributes["audit.policy.decision"],
    RecordId: attributes["audit.record.id"],
    Origin: attributes["audit.record.origin"],
  };
}
