import { resolve } from "node:path";

import { expect, test } from "vitest";

import { configFromEnvironment } from "./config.ts";

test("defaults: record everything, to a local collector, from a private directory", () => {
  const config = configFromEnvironment({});
  expect(config).toMatchObject({
    disabled: false,
    headers: {},
    trust: false,
    agent: undefined,
    policyFile: undefined,
    mode: undefined,
    unattributed: "record",
    propagation: { to: undefined, from: { stdio: true, http: false }, isInherited: false },
    resource: { "service.name": "unknown_service:node" },
  });
  expect(config.endpoint.href).toBe("http://127.0.0.1:4318/");
  expect(config.spoolDir).toMatch(/otel-audit-spool-/);
});

test("everything has its variable", () => {
  const config = configFromEnvironment({
    OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT: "https://audit.internal/otlp",
    OTEL_AUDIT_EXPORTER_OTLP_HEADERS: "authorization=Bearer%20t,x-a=1",
    OTEL_AUDIT_EXPORTER_TRUST: "1",
    OTEL_AUDIT_AGENT_ID: "agent:refunds",
    OTEL_AUDIT_AGENT_NAME: "Refund bot",
    OTEL_AUDIT_AGENT_VERSION: "1.4.0",
    OTEL_AUDIT_CREDENTIAL: "key:1",
    OTEL_AUDIT_ON_BEHALF_OF: "user:4711",
    OTEL_AUDIT_WORKFLOW_NAME: "refund",
    OTEL_AUDIT_WORKFLOW_ID: "wf-1",
    OTEL_AUDIT_POLICY: "policy.yaml",
    OTEL_AUDIT_MODE: "Enforce",
    OTEL_AUDIT_UNATTRIBUTED: "deny",
    OTEL_AUDIT_SPOOL_DIR: "spool",
    OTEL_AUDIT_SPOOL_MAX_BYTES: "2000000",
    OTEL_AUDIT_SPOOL_FULL: "block",
    OTEL_AUDIT_PROPAGATE_TO: "a.internal, b.internal",
    OTEL_AUDIT_ACCEPT_FROM: "loopback, 10.0.0.0/8",
    OTEL_AUDIT_DATA_DIR: "data",
    OTEL_AUDIT_APPROVER: "https://approvals.internal/review",
    OTEL_AUDIT_APPROVER_HEADERS: "authorization=Bearer%20a",
    OTEL_AUDIT_APPROVER_TIMEOUT: "1000",
    OTEL_RESOURCE_ATTRIBUTES: "service.name=x,deployment.environment=prod",
    OTEL_SERVICE_NAME: "shop",
  });
  expect(config).toMatchObject({
    headers: { authorization: "Bearer t", "x-a": "1" },
    trust: true,
    agent: {
      id: "agent:refunds",
      type: "agent",
      name: "Refund bot",
      version: "1.4.0",
      credential: "key:1",
      onBehalfOf: "user:4711",
      workflowName: "refund",
      workflowId: "wf-1",
    },
    policyFile: resolve("policy.yaml"),
    dataDir: resolve("data"),
    approverHeaders: { authorization: "Bearer a" },
    approverTimeoutMs: 1000,
    mode: "enforce",
    unattributed: "deny",
    spoolDir: resolve("spool"),
    spoolMaxBytes: 2_000_000,
    spoolFull: "block",
    propagation: { to: expect.any(Function), from: { stdio: false, http: true } },
    resource: { "service.name": "shop", "deployment.environment": "prod" },
  });
  expect(config.endpoint.href).toBe("https://audit.internal/otlp");
  expect(config.approver?.href).toBe("https://approvals.internal/review");
});

test("the debug backend's headers go to the debug backend only", () => {
  const general = { OTEL_EXPORTER_OTLP_ENDPOINT: "http://a:4318", OTEL_EXPORTER_OTLP_HEADERS: "authorization=debug" };
  expect(configFromEnvironment(general).headers).toEqual({ authorization: "debug" });
  const both = { ...general, OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT: "http://b:4318" };
  expect(configFromEnvironment(both)).toMatchObject({ headers: {} });
  expect(configFromEnvironment(both).endpoint.host).toBe("b:4318");
});

test.each([
  ["OTEL_AUDIT_MODE", "enforec", 'must be one of observe, enforce, got "enforec"'],
  ["OTEL_AUDIT_UNATTRIBUTED", "drop", 'must be one of record, ignore, deny, got "drop"'],
  ["OTEL_AUDIT_DISABLED", "yes please", "must be one of 1, true, 0, false"],
  ["OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT", "localhost", 'not a URL: "localhost"'],
  ["OTEL_EXPORTER_OTLP_ENDPOINT", "grpc://x:4317", 'must be http: or https:, got "grpc:"'],
  ["OTEL_AUDIT_SPOOL_FULL", "drop", "must be one of block, deny"],
  ["OTEL_AUDIT_SPOOL_MAX_BYTES", "12", "must be an integer of at least 1048576"],
  ["OTEL_AUDIT_PROPAGATE_TO", "*", "must be hosts such as orders.internal"],
  ["OTEL_AUDIT_PROPAGATE_TO", "https://a.internal", "must be hosts such as orders.internal"],
  ["OTEL_AUDIT_ACCEPT_FROM", "a.internal", "must be none, stdio, unix, loopback, addresses, networks or *"],
  ["OTEL_AUDIT_ACCEPT_FROM", "10.0.0.0/33", "must be none, stdio, unix, loopback, addresses, networks or *"],
  ["OTEL_AUDIT_APPROVER", "unix:/run/approver", 'must be http: or https:, got "unix:"'],
  ["OTEL_AUDIT_APPROVER_TIMEOUT", "90000000", "must be at most 86400000"],
])("%s=%s is refused by name", (name, value, message) => {
  const read = () => configFromEnvironment({ [name]: value });
  expect(read).toThrow(expect.objectContaining({ code: "INVALID_CONFIG" }));
  expect(read).toThrow(`${name}: ${message}`);
});
