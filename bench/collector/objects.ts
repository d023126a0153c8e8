// The peer: a collector as it is usually written. It decodes every request to objects, splits them, writes audit spans as
// JSON lines to a synced log and inserts them as JSONEachRow, and encodes debug spans again to forward them.
import { createClient } from "@clickhouse/client";
import { EmbeddedEngine } from "@otel-audit/exporter-clickhouse";
import { open } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import protobuf from "protobufjs";
import { fileURLToPath } from "node:url";

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

export async function startObjects(
  dataDir: string,
  backend: string,
): Promise<{ url: string; drain: () => Promise<unknown>; stop: () => Promise<void> }> {
  const root = await protobuf.load(fileURLToPath(new URL("../../test/proto/otlp-trace.proto", import.meta.url)));
  const type = root.lookupType("otlp.Request");
  const engine = await EmbeddedEngine.start({ dataDir });
  const { url, username, password } = engine.writer;
  const client = createClient({ url, username, password, database: "otel_audit" });
  const log = await open(join(dataDir, "objects.log"), "a");
  let rows: object[] = [];
  let sending: Promise<unknown> = Promise.resolve();

  const insert = async (): Promise<void> => {
    const values = rows;
    rows = [];
    if (values.length > 0)
      await client.insert({
        table: "audit_events",
        values,
        format: "JSONEachRow",
        clickhouse_settings: { async_insert: 0 },
      });
  };
  const timer = setInterval(() => {
    sending = Promise.all([sending, insert()]);
  }, 1_000);

  const handle = async (body: Buffer): Promise<void> => {
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
    sending = Promise.all([
      sending,
      fetch(`${backend}/v1/traces`, {
        method: "POST",
        headers: { "content-type": "application/x-protobuf" },
        body: forwarded,
      }).then((response) => response.arrayBuffer()),
    ]);
  };

  const server = createServer((incoming, response) => {
    const chunks: Buffer[] = [];
    incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
    incoming.on("end", () => {
      handle(Buffer.concat(chunks)).then(
        () => response.writeHead(200, { "content-type": "application/x-protobuf" }).end(),
        (error: unknown) => response.writeHead(500).end(String(error)),
      );
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as { port: number }).port}`,
    drain: async () => {
      await insert();
      await sending;
    },
    stop: async () => {
      clearInterval(timer);
      await sending;
      server.close();
      server.closeAllConnections();
      await client.close();
      await log.close();
      await engine.stop();
    },
  };
}

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
