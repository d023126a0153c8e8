// The metrics of a running collector, against the dashboards that read them: the public one that otelcol's users have
// (grafana.com 15983, its revision of 2026), and ours.
import { encodeTraces, type SpanData } from "@otel-audit/otlp";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startCollector, startHttpApi, tempDir, type HttpApi, type RunningCollector } from "./support/index.ts";

const CONFIG = `
receivers: { otlp: { protocols: { http: { endpoint: "127.0.0.1:0" } } } }
connectors: { audit_router: { audit: [traces/audit], debug: [traces/debug] } }
processors: { memory_limiter: { limit_mib: 100000 }, audit: }
exporters:
  clickhouse_audit: { engine: clickhouse_embedded, segment: { max_age: 100ms } }
  otlphttp: { endpoint: "\${env:BACKEND}" }
extensions: { health_check: { endpoint: "127.0.0.1:0" }, clickhouse_embedded: { endpoint: "127.0.0.1:0" } }
service:
  extensions: [health_check, clickhouse_embedded]
  pipelines:
    traces: { receivers: [otlp], processors: [memory_limiter, audit], exporters: [audit_router] }
    traces/audit: { receivers: [audit_router], exporters: [clickhouse_audit] }
    traces/debug: { receivers: [audit_router], exporters: [otlphttp] }
    logs: { receivers: [otlp], processors: [memory_limiter], exporters: [otlphttp] }
    metrics: { receivers: [otlp], processors: [memory_limiter], exporters: [otlphttp] }
  telemetry: { logs: { level: warn }, metrics: { address: "127.0.0.1:0" } }
`;

interface Series {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

let backend: HttpApi;
let collector: RunningCollector;
let text: string;
let series: readonly Series[];

beforeAll(async () => {
  const dir = tempDir("dashboards");
  writeFileSync(join(dir, "c.yaml"), CONFIG);
  backend = await startHttpApi();
  const env = { BACKEND: backend.url };
  collector = await startCollector({ dataDir: join(dir, "data"), config: join(dir, "c.yaml"), env });
  await send(
    "traces",
    encodeTraces({ resourceSpans: [{ scopeSpans: [{ spans: [span("1", true), span("2", false)] }] }] }),
  );
  // Two log records, and a gauge with one point.
  await send("logs", Uint8Array.of(10, 6, 18, 4, 18, 0, 18, 0));
  await send("metrics", Uint8Array.of(10, 8, 18, 6, 18, 4, 42, 2, 10, 0));
  // Until everything has arrived where it goes.
  const arrived = ["clickhouse_audit spans", "otlphttp spans", "otlphttp log_records", "otlphttp metric_points"];
  do {
    await sleep(50);
    series = await scrape();
  } while (!arrived.every((one) => sent(one) > 0));
}, 60_000);
afterAll(async () => {
  await collector[Symbol.asyncDispose]();
  await backend.close();
});

function span(id: string, audit: boolean): SpanData {
  const attributes = {
    "audit.action": "READ",
    "audit.outcome": "success",
    "audit.actor.id": "tester",
    "audit.actor.type": "agent",
  };
  const now = BigInt(Date.now()) * 1_000_000n;
  return {
    traceId: "0af7651916cd43dd8448eb211c80319c",
    spanId: id.padStart(16, "0"),
    name: "s",
    startTimeUnixNano: now,
    endTimeUnixNano: now,
    ...(audit && { attributes }),
  };
}

async function send(signal: string, body: Uint8Array): Promise<void> {
  const response = await fetch(`${collector.endpoints.otlpHttp}/v1/${signal}`, {
    method: "POST",
    headers: { "content-type": "application/x-protobuf" },
    body: Buffer.from(body),
  });
  expect(response.status, await response.text()).toBe(200);
}

async function scrape(): Promise<readonly Series[]> {
  text = await (await fetch(`${collector.endpoints.metrics}/metrics`)).text();
  return [...text.matchAll(/^(?<name>[a-z_:]+)(?:\{(?<labels>.*)\})? (?<value>\S+)$/gm)].map(({ groups }) => ({
    name: groups!.name!,
    labels: Object.fromEntries(
      [...(groups!.labels ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map((pair) => [pair[1]!, pair[2]!]),
    ),
    value: Number(groups!.value),
  }));
}

/** Items that an exporter has sent: `otlphttp spans`. */
function sent(what: string): number {
  const [exporter, items] = what.split(" ");
  const found = series.find(
    ({ name, labels }) => name === `otelcol_exporter_sent_${items}` && labels.exporter === exporter,
  );
  return found?.value ?? 0;
}

/** What a query of the dashboard selects: a metric with all of these labels. */
function find(
  name: string,
  labels: readonly string[],
  equal: Readonly<Record<string, string>> = {},
): Series | undefined {
  return series.find(
    (one) =>
      one.name === name &&
      labels.every((label) => one.labels[label] !== undefined) &&
      Object.entries(equal).every(([label, value]) => one.labels[label] === value),
  );
}

/**
 * How the public dashboard finds out how names are written here: it asks for series and cuts these out of the first answer, which Prometheus
 * writes as `name{labels}`. Nothing found is nothing.
 */
function variable(name: RegExp, cut: RegExp): string {
  const answers = series
    .filter((one) => name.test(one.name))
    .map(
      (one) =>
        `${one.name}{${Object.keys(one.labels)
          .map((label) => `${label}="x"`)
          .join(",")}}`,
    );
  return answers.map((answer) => cut.exec(answer)).find(Boolean)?.[1] ?? "";
}

describe("the public dashboard 15983", () => {
  const NAMES: readonly [panel: string, name: string, labels: readonly string[], equal?: Record<string, string>][] = [
    ...["spans", "log_records", "metric_points"].flatMap((items): typeof NAMES => [
      [`${items} received`, `otelcol_receiver_accepted_${items}{total}`, ["receiver", "transport"]],
      [`${items} refused`, `otelcol_receiver_refused_${items}{total}`, ["receiver", "transport"]],
      [`${items} accepted by processors`, `otelcol_processor_accepted_${items}{total}`, ["processor"]],
      [`${items} refused by processors`, `otelcol_processor_refused_${items}{total}`, ["processor"]],
      [`${items} dropped by processors`, `otelcol_processor_dropped_${items}{total}`, ["processor"]],
      [`${items} sent`, `otelcol_exporter_sent_${items}{total}`, ["exporter"]],
      [`${items} not queued`, `otelcol_exporter_enqueue_failed_${items}{total}`, ["exporter"]],
      [`${items} not sent`, `otelcol_exporter_send_failed_${items}{total}`, ["exporter"]],
    ]),
    ...["traces", "logs", "metrics"].flatMap((signal): typeof NAMES => [
      [
        `${signal} into processors`,
        "otelcol_processor_incoming_items{total}",
        ["processor"],
        { "otel{divider}signal": signal },
      ],
      [
        `${signal} out of processors`,
        "otelcol_processor_outgoing_items{total}",
        ["processor"],
        { "otel{divider}signal": signal },
      ],
    ]),
    ["Exporter Queue Size", "otelcol_exporter_queue_size", ["exporter"]],
    ["Exporter Queue Capacity", "otelcol_exporter_queue_capacity", ["exporter"]],
    ["Total RSS Memory", "otelcol_process_memory_rss{bytes}", []],
    ["Total Runtime Sys Memory", "otelcol_process_runtime_total_sys_memory_bytes", []],
    ["Total Runtime Heap Memory", "otelcol_process_runtime_heap_alloc_bytes", []],
    ["CPU Usage", "otelcol_process_cpu_seconds{total}", ["service_instance_id"]],
    ["Uptime by Service Instance", "otelcol_process_uptime{seconds}{total}", ["service{divider}instance{divider}id"]],
    [
      "Service Instance Details",
      "otelcol_process_uptime{seconds}{total}",
      ["service{divider}name", "service{divider}version"],
    ],
  ];

  it.each(NAMES)("%s", (_panel, name, labels, equal = {}) => {
    const uptime = /^otelcol_process_uptime.+/;
    const found: Readonly<Record<string, string>> = {
      total: variable(uptime, /(_total_total|_total)(?=\{)/),
      seconds: variable(uptime, /otelcol_process_uptime(_seconds|)?/),
      bytes: variable(/^otelcol_process_memory_rss.+/, /otelcol_process_memory_rss(.*)\{/),
      divider: variable(uptime, /service([._])instance([._])id/),
    };
    const fill = (template: string): string => template.replaceAll(/\{(\w+)\}/g, (_all, key: string) => found[key]!);
    const wanted = Object.fromEntries(Object.entries(equal).map(([label, value]) => [fill(label), value]));
    expect(find(fill(name), labels.map(fill), wanted), `${fill(name)} with ${labels.map(fill).join()}`).toBeDefined();
  });

  it("finds the job by a series of its own", () => {
    expect(series.some(({ name }) => name.startsWith("otelcol_process_uptime"))).toBe(true);
  });
});

describe("dashboards/otel-audit.json", () => {
  interface Panel {
    readonly title: string;
    readonly targets?: readonly { readonly expr: string }[];
  }
  const dashboard = JSON.parse(
    readFileSync(fileURLToPath(new URL("../dashboards/otel-audit.json", import.meta.url)), "utf8"),
  ) as { readonly panels: readonly Panel[] };
  const queries = dashboard.panels.flatMap(({ title, targets = [] }) =>
    targets.map(({ expr }) => [title, expr] as const),
  );

  it.each(queries)("%s: %s", (_title, expr) => {
    const names = [...expr.matchAll(/\b(?:otelcol|otel_audit)_\w+/g)].map(([name]) => name);
    expect(names.length).toBeGreaterThan(0);
    // With or without series: one that is counted by reason has none while there is no reason.
    for (const name of names) expect(text).toMatch(new RegExp(`^# TYPE ${name} (?:counter|gauge)$`, "m"));
  });

  it("selects by labels that the series have", () => {
    const labels = ["service_instance_id"];
    for (const name of [
      "otel_audit_log_bytes",
      "otel_audit_records",
      "otel_audit_refused_records",
      "otel_audit_conflicts",
    ])
      expect(find(name, labels), name).toBeDefined();
  });

  it("says of every metric of ours what it is", () => {
    const ours = new Set([...text.matchAll(/^# HELP (otel_audit_\w+) (.+)$/gm)].map(([, name]) => name!));
    const guide = readFileSync(fileURLToPath(new URL("../docs/operating.md", import.meta.url)), "utf8");
    for (const name of ours) expect(guide, name).toContain(`\`${name}`);
  });
});
