import { describe, expect, it } from "vitest";
import { parseConfig } from "./config.ts";

const CREDENTIALS = { credentials: [{ id: "a", token_sha256: "ab".repeat(32), agents: ["a"] }] };
const auth = { authenticator: "audit_credentials" };

type Pipelines = Record<string, { receivers: string[]; processors?: string[]; exporters: string[] }>;
const ROUTED: Pipelines = {
  traces: { receivers: ["otlp"], processors: ["audit"], exporters: ["audit_router"] },
  "traces/audit": { receivers: ["audit_router"], exporters: ["clickhouse_audit"] },
};

function problem(
  pipelines: Pipelines,
  more: { auth?: unknown; extensions?: string[]; protocol?: string } = {},
): string {
  const clickhouse = { endpoint: "http://127.0.0.1:8123" };
  const protocol = more.protocol ?? "http";
  const document = {
    receivers: {
      otlp: { protocols: { [protocol]: { auth: more.auth ?? auth } } },
      "otlp/open": { protocols: { http: { endpoint: "127.0.0.1:0" } } },
    },
    processors: { audit: {}, "audit/strict": {} },
    connectors: pipelines["traces/audit"] ? { audit_router: { audit: ["traces/audit"] } } : {},
    exporters: { clickhouse_audit: clickhouse, clickhouse_traces: clickhouse },
    extensions: { audit_credentials: CREDENTIALS, health_check: {} },
    service: { extensions: more.extensions ?? ["audit_credentials"], pipelines },
  };
  try {
    parseConfig(JSON.stringify(document));
    return "";
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

describe("checkAuth", () => {
  it.each<[string, Pipelines]>([
    ["before the router", ROUTED],
    [
      "behind the router",
      {
        traces: { receivers: ["otlp"], exporters: ["audit_router"] },
        "traces/audit": { receivers: ["audit_router"], processors: ["audit/strict"], exporters: ["clickhouse_audit"] },
      },
    ],
    [
      "nowhere, for a receiver that asks nobody",
      {
        traces: { receivers: ["otlp"], processors: ["audit"], exporters: ["clickhouse_audit"] },
        "traces/open": { receivers: ["otlp/open"], exporters: ["clickhouse_audit"] },
      },
    ],
  ])("takes an audit processor %s", (_where, pipelines) => {
    expect(problem(pipelines)).toBe("");
    expect(problem(pipelines, { protocol: "grpc" })).toBe("");
  });

  it.each<[string, string, Pipelines]>([
    ["at once", "traces", { traces: { receivers: ["otlp"], exporters: ["clickhouse_audit"] } }],
    ["over a router", "traces/audit", { ...ROUTED, traces: { receivers: ["otlp"], exporters: ["audit_router"] } }],
    [
      "on a second way",
      "traces/two",
      { ...ROUTED, "traces/two": { receivers: ["otlp"], exporters: ["clickhouse_audit"] } },
    ],
  ])("refuses records that reach the ledger %s without who sent them", (_how, pipeline, pipelines) => {
    expect(problem(pipelines)).toBe(
      `service::pipelines::${pipeline}: exporter "clickhouse_audit" would store records of receiver "otlp" without who sent them: add the "audit" processor between the two`,
    );
  });

  it.each<[string, Parameters<typeof problem>[1], string]>([
    ["is not there", { auth: { authenticator: "oidc" } }, 'references extension "oidc" which is not configured'],
    [
      "is something else",
      { auth: { authenticator: "health_check" } },
      'extension "health_check" is no authenticator; use audit_credentials',
    ],
    [
      "does not run",
      { extensions: [] },
      'extension "audit_credentials" is not in service::extensions, so it would not run',
    ],
  ])("refuses an authenticator that %s", (_what, more, message) => {
    expect(problem(ROUTED, more)).toBe(`receivers::otlp::protocols::http::auth::authenticator: ${message}`);
  });
});
