import { describe, expect, it } from "vitest";
import { parseConfig } from "./config.ts";
import { MINIMAL, messageOf } from "../testing/config.ts";
import { DEFAULT_CONFIG } from "./default-config.ts";

function metricsOf(telemetry: string): unknown {
  const text = MINIMAL.replace("service:\n", `service:\n  telemetry: { metrics: ${telemetry} }\n`);
  return parseConfig(text).service.telemetry.metrics;
}

describe("parseConfig", () => {
  it("accepts what is built in, and a minimal configuration", () => {
    expect([...parseConfig(DEFAULT_CONFIG).exporters.keys()]).toEqual(["clickhouse_audit", "clickhouse_traces"]);
    expect(parseConfig(MINIMAL).receivers.get("otlp")).toEqual({
      protocols: {
        http: {
          endpoint: { host: "127.0.0.1", port: 4318 },
          transport: "tcp",
          max_request_body_size: 67_108_864,
        },
      },
      max_in_flight_bytes: 536_870_912,
    });
  });

  it("expands environment references and keeps the type of a value that is nothing else", () => {
    const text = MINIMAL.replace(
      "http: {}",
      "http: { max_request_body_size: '${env:MAX:-2048}', endpoint: '127.0.0.1:${env:PORT}' }",
    );
    expect(parseConfig(text, { env: { PORT: "5000" } }).receivers.get("otlp")).toMatchObject({
      protocols: { http: { max_request_body_size: 2048, endpoint: { port: 5000 } } },
    });
  });

  it("knows where metrics are, as older and newer otelcols write it", () => {
    const expected = { address: { host: "127.0.0.1", port: 9999 } };
    expect(metricsOf("{ address: '127.0.0.1:9999' }")).toEqual(expected);
    expect(metricsOf("{ readers: [{ pull: { exporter: { prometheus: { host: 127.0.0.1, port: 9999 } } } }] }")).toEqual(
      expected,
    );
    expect(metricsOf("{ address: '0.0.0.0:9999', level: detailed }")).toEqual({
      address: { host: "0.0.0.0", port: 9999 },
    });
    expect(metricsOf("{ address: '127.0.0.1:9999', level: none }")).toEqual({});
  });

  it.each<[string, string, RegExp]>([
    ["broken YAML", "receivers: [", /^config\.yaml:\d+:\d+: /],
    ["a repeated key", `${MINIMAL}\nservice: {}`, /^config\.yaml:\d+:\d+: Map keys must be unique/],
    ["no service", "receivers:\n", /^service: is missing or empty: an object is needed$/],
    [
      "a key with nothing behind it",
      MINIMAL.replace(/otlp: \{.*\n/, "otlp: { protocols: }\n"),
      /^receivers::otlp::protocols: is missing or empty: an object is needed$/,
    ],
    // Deeper than the library survives: it ends the process, which no test could report.
    ["nesting", `receivers:\n  ${"- ".repeat(30_000)}`, /^config\.yaml:2:\d+: the document is nested deeper than 64/],
    ["flow nesting", `receivers: ${"[".repeat(30_000)}`, /^config\.yaml:1:\d+: the document is nested deeper than 64/],
    [
      "an alias of itself",
      `${MINIMAL}\nreceivers: &a { b: *a }`.replace(/^receivers:.*\n.*\n/m, ""),
      /nested deeper than 64|alias/,
    ],
    [
      "too many aliases",
      "a: &a [1]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: [*c, *c, *c]",
      /alias/,
    ],
    [
      "merges of merges",
      `a0: &a0 { x: 1 }\n${Array.from({ length: 8 }, (_, i) => `a${i + 1}: &a${i + 1} { <<: [${Array(10).fill(`*a${i}`).join()}] }\n`).join("")}`,
      /^config\.yaml: Excessive alias count/,
    ],
    ["a merge of itself", "a: &a { <<: *a }", /^config\.yaml: /],
    ["a merge of what is no map", "a: &a 1\nb: { <<: *a }", /^config\.yaml: Merge sources must be maps/],
    [
      "a huge document",
      `# ${"x".repeat(300_000)}`,
      /^config\.yaml: the document has 300002 bytes, at most 262144 are allowed/,
    ],
    ["two documents", `${MINIMAL}\n---\n${MINIMAL}`, /^config\.yaml:\d+:\d+: the text has more than one YAML document/],
    ["an unknown section", `${MINIMAL}\nexporter: {}`, /^has invalid keys: exporter/],
    [
      "an unknown type",
      MINIMAL.replace("  otlp: {", "  otpl: {"),
      /^receivers: unknown type: "otpl" for id: "otpl" \(valid values: \[otlp\]\)/,
    ],
    [
      "an unknown key",
      MINIMAL.replace("http: {}", "http: { port: 1 }"),
      /^receivers::otlp::protocols::http: has invalid keys: port/,
    ],
    [
      "a setting of otelcol that is not here, with the reason",
      MINIMAL.replace("http: {}", "http: { cors: {}, port: 1 }"),
      /^receivers::otlp::protocols::http::cors: is not a setting of this collector: what a page in a browser says/,
    ],
    [
      "a queue on disk for debug telemetry",
      MINIMAL.replace("otlphttp: {", "otlphttp: { sending_queue: { storage: file_storage },"),
      /^exporters::otlphttp::sending_queue::storage: is not a setting of this collector: debug telemetry waits in memory/,
    ],
    [
      "the collector's own resource",
      MINIMAL.replace("service:\n", "service:\n  telemetry: { resource: {} }\n"),
      /^service::telemetry::resource: is not a setting of this collector: metrics have service_name/,
    ],
    [
      "a pipeline in the wrong place",
      MINIMAL.replace("service:\n", "service:\n  traces: {}\n"),
      /^service: has invalid keys: traces$/,
    ],
    [
      "a value out of bounds",
      MINIMAL.replace("http: {}", "http: { max_request_body_size: 1 }"),
      /^receivers::otlp::protocols::http::max_request_body_size: .*1024, not 1$/,
    ],
    [
      "an address others reach",
      MINIMAL.replace("http: {}", "http: { endpoint: '0.0.0.0:4318' }"),
      /^receivers::otlp::protocols::http::endpoint: "0\.0\.0\.0:4318" can be reached from other machines/,
    ],
    [
      "no address at all",
      MINIMAL.replace("http: {}", "http: { endpoint: 'localhost' }"),
      /"localhost" is not an address/,
    ],
    [
      "an unknown signal",
      MINIMAL.replace("    traces:", "    profiles:"),
      /^service::pipelines::profiles: unknown signal "profiles"/,
    ],
    [
      "a signal that a component does not take",
      MINIMAL.replace("    traces:", "    logs:")
        .replace("  otlphttp:", "  clickhouse_traces: { endpoint: 'http://127.0.0.1:1' }\n  otlphttp:")
        .replace("exporters: [otlphttp, clickhouse_audit]", "exporters: [clickhouse_traces]"),
      /^service::pipelines::logs: exporter "clickhouse_traces" does not take logs/,
    ],
    [
      "a signal for which an exporter has no address",
      MINIMAL.replace("    traces:", "    logs:").replace("{ endpoint:", "{ traces_endpoint:"),
      /^service::pipelines::logs: exporter "otlphttp" cannot take logs: it has neither endpoint nor logs_endpoint/,
    ],
    [
      "a duration without a unit",
      MINIMAL.replace('4319"', "4319\", timeout: '5'"),
      /^exporters::otlphttp::timeout: must be a duration from 1ms to 10m .*, not "5"/,
    ],
    [
      "a queue that is turned off",
      MINIMAL.replace('4319"', '4319", sending_queue: { enabled: false }'),
      /^exporters::otlphttp::sending_queue::enabled: cannot be turned off/,
    ],
    [
      "both destinations",
      MINIMAL.replace("clickhouse_audit: {", "clickhouse_audit: { engine: a,"),
      /^exporters::clickhouse_audit: needs exactly one of engine/,
    ],
    [
      "certificates for a connection without TLS",
      MINIMAL.replace('4319"', '4319", tls: { ca_file: a.pem }'),
      /^exporters::otlphttp::tls: no endpoint is https/,
    ],
    [
      "half of a client certificate",
      MINIMAL.replace('http://127.0.0.1:4319"', 'https://127.0.0.1:4319", tls: { cert_file: a.pem }'),
      /^exporters::otlphttp::tls: needs both of cert_file and key_file/,
    ],
    [
      "a ClickHouse server with a path",
      MINIMAL.replace("127.0.0.1:4318", "127.0.0.1:8123/default"),
      /^exporters::clickhouse_audit::endpoint: has more than http\(s\):\/\/host:port/,
    ],
    [
      "a broken reference",
      MINIMAL.replace("4319", "${PORT!}"),
      /^exporters::otlphttp::endpoint: "\$\{PORT!\}" is not a reference/,
    ],
  ])("refuses %s", (_name, text, message) => {
    expect(messageOf(text)).toMatch(message);
  });

  it("does not repeat a secret in an error", () => {
    const text = MINIMAL.replace("otlphttp: {", "otlphttp: { headers: { authorization: [very-secret] },");
    expect(messageOf(text)).toMatch(/^exporters::otlphttp::headers::authorization: /);
    expect(messageOf(text)).not.toContain("very-secret");
  });

  it("does not parse a long value from the environment as YAML", () => {
    const text = MINIMAL.replace('"http://127.0.0.1:4319"', "'${env:DEEP}'");
    expect(messageOf(text, { DEEP: "- ".repeat(30_000) })).toMatch(/^exporters::otlphttp::endpoint: /);
  });
});
