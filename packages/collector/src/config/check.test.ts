// What components of a configuration say about each other.
import { describe, expect, it } from "vitest";
import { parseConfig } from "./config.ts";
import { MINIMAL, messageOf } from "../testing/config.ts";
import { DEFAULT_CONFIG } from "./default-config.ts";

describe("checkReferences", () => {
  it("accepts listeners that are apart, and what no pipeline uses", () => {
    const apart = MINIMAL.replace(
      "{ http: {} }",
      "{ http: { endpoint: '[::1]:4318' }, grpc: { endpoint: '127.0.0.1:0' } }",
    )
      .replace(
        "exporters:\n",
        "  otlp/unused: { protocols: { http: { endpoint: '[::1]:4318' } } }\nexporters:\n  clickhouse_traces: { engine: no }\n",
      )
      .replace("service:\n", "service:\n  telemetry: { metrics: { address: '0.0.0.0:4318' } }\n");
    expect(() => parseConfig(apart)).not.toThrow();
  });

  it.each<[string, string, RegExp]>([
    [
      "a reference to nothing",
      MINIMAL.replace("exporters: [otlphttp, clickhouse_audit]", "exporters: [x]"),
      /^service::pipelines::traces: references exporter "x" which is not configured/,
    ],
    [
      "a repeated reference",
      MINIMAL.replace("receivers: [otlp]", "receivers: [otlp, otlp]"),
      /^service::pipelines::traces: references receiver "otlp" multiple times/,
    ],
    [
      "a pipeline without exporter",
      MINIMAL.replace("exporters: [otlphttp, clickhouse_audit]", "exporters: []"),
      /^service::pipelines::traces: must have at least one exporter/,
    ],
    [
      "two logs in one data directory",
      MINIMAL.replace("service:", "  clickhouse_audit/b: { endpoint: 'http://127.0.0.1:2' }\nservice:").replace(
        "exporters: [otlphttp, clickhouse_audit]",
        "exporters: [clickhouse_audit, clickhouse_audit/b]",
      ),
      /^exporters::clickhouse_audit\/b: is used beside "clickhouse_audit": a data directory has one log/,
    ],
    [
      "audit spans that nothing keeps",
      MINIMAL.replace("[otlphttp, clickhouse_audit]", "[otlphttp]"),
      /^service::pipelines::traces: audit spans would end in otlphttp, which may drop them after/,
    ],
    [
      "audit spans that the router brings to where nothing keeps them",
      DEFAULT_CONFIG.replace("exporters: [clickhouse_audit]", "exporters: [clickhouse_traces]"),
      /^service::pipelines::traces\/audit: audit spans would end in clickhouse_traces, which/,
    ],
    [
      "a connector into nothing",
      DEFAULT_CONFIG.replace("debug: [traces/debug]", "debug: [traces/other]"),
      /^connectors::audit_router: routes to pipeline "traces\/other"/,
    ],
    [
      "a connector that nothing feeds",
      DEFAULT_CONFIG.replace("exporters: [audit_router]", "exporters: [clickhouse_traces]"),
      /^connectors::audit_router: is used as receiver but is not used as exporter/,
    ],
    [
      "an engine that does not run",
      DEFAULT_CONFIG.replace("extensions: [health_check, clickhouse_embedded]", "extensions: [health_check]"),
      /^exporters::clickhouse_audit::engine: references "clickhouse_embedded", which is not a clickhouse_embedded ext/,
    ],
    [
      "an engine that is something else",
      DEFAULT_CONFIG.replace("engine: clickhouse_embedded", "engine: health_check"),
      /^exporters::clickhouse_audit::engine: references "health_check", which is not a clickhouse_embedded extension/,
    ],
    [
      "two databases in one data directory",
      DEFAULT_CONFIG.replace("extensions: [", "extensions: [clickhouse_embedded/b, ").replace(
        "  clickhouse_embedded:",
        "  clickhouse_embedded/b: { endpoint: '127.0.0.1:8200' }\n  clickhouse_embedded:",
      ),
      /^extensions::clickhouse_embedded: is used beside "clickhouse_embedded\/b": a data directory has one database/,
    ],
    [
      "a repeated extension",
      DEFAULT_CONFIG.replace("extensions: [", "extensions: [health_check, "),
      /^service::extensions: references extension "health_check" multiple times/,
    ],
    [
      "a pipeline that sends to itself",
      DEFAULT_CONFIG.replace("exporters: [clickhouse_traces]", "exporters: [clickhouse_traces, audit_router]"),
      /^service::pipelines: cycle detected: traces\/debug -> traces\/debug$/,
    ],
    [
      "two protocols on one port",
      DEFAULT_CONFIG.replace("127.0.0.1:4317", "127.0.0.1:4318"),
      /^receivers::otlp::protocols::http::endpoint: cannot be 127\.0\.0\.1:4318: receivers::otlp::protocols::grpc::endpoint/,
    ],
    [
      "two protocols on one socket",
      MINIMAL.replace(
        "{ http: {} }",
        "{ http: { transport: unix, endpoint: /run/a }, grpc: { transport: unix, endpoint: /run/a } }",
      ),
      /^receivers::otlp::protocols::http::endpoint: cannot be unix:\/run\/a: receivers::otlp::protocols::grpc::endpoint/,
    ],
    [
      "all addresses beside one of them",
      DEFAULT_CONFIG.replace("endpoint: 127.0.0.1:13133", "endpoint: 0.0.0.0:8123"),
      /^extensions::clickhouse_embedded::endpoint: cannot be 127\.0\.0\.1:8123: extensions::health_check::endpoint listens on 0\.0\.0\.0:8123/,
    ],
    [
      "metrics where something else is",
      MINIMAL.replace("service:\n", "service:\n  telemetry: { metrics: { address: '[::]:4318' } }\n"),
      /^service::telemetry::metrics::address: cannot be \[::\]:4318: receivers::otlp::protocols::http::endpoint listens on/,
    ],
  ])("refuses %s", (_name, text, message) => {
    expect(messageOf(text)).toMatch(message);
  });
});
