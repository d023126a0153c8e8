import { describe, expect, it } from "vitest";
import { agentName, auditEnvironment } from "./environment.ts";

describe("agentName", () => {
  it.each([
    ["node agent.js", "agent"],
    ["/usr/bin/node /srv/agents/refund-bot.mjs --verbose", "refund-bot"],
    ["node --import ./setup.js -r dotenv/config --inspect agent.ts", "agent"],
    ["node -e 1", "node"],
    ["node", "node"],
    ["npx some-agent refund", "some-agent"],
    ["npx -y @scope/some-agent@1.2.3", "some-agent"],
    ["npx --package some-package some-agent", "some-agent"],
    ["npm start", "start"],
    ["npm run agent:refund", "agent:refund"],
    ["pnpm dlx some-agent", "some-agent"],
    ["tsx src/agent.ts", "agent"],
    ["./agent.sh", "agent"],
    ["sh -c node", "sh"],
    ["my.agent", "my.agent"],
  ])("of %s is %s", (line, expected) => {
    const [command = "", ...args] = line.split(" ");
    expect(agentName(command, args)).toBe(expected);
  });
});

describe("auditEnvironment", () => {
  const audited = {
    register: "file:///r.js",
    endpoint: "http://127.0.0.1:1",
    spoolDir: "/s",
    dataDir: "/d",
    agent: "a",
    policy: undefined,
    mode: undefined,
  };

  it("starts the audit before what NODE_OPTIONS has already", () => {
    expect(auditEnvironment({}, audited).NODE_OPTIONS).toBe("--import=file:///r.js");
    expect(auditEnvironment({ NODE_OPTIONS: "--max-old-space-size=100" }, audited).NODE_OPTIONS).toBe(
      "--import=file:///r.js --max-old-space-size=100",
    );
  });

  it("keeps what the person set for the instrumentation, and overrides what would lead the records elsewhere", () => {
    const parent = {
      PATH: "/bin",
      OTEL_AUDIT_ON_BEHALF_OF: "user:1",
      OTEL_AUDIT_POLICY: "/p.yaml",
      OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT: "http://elsewhere",
      OTEL_AUDIT_SPOOL_DIR: "/elsewhere",
      OTEL_AUDIT_DISABLED: "1",
    };
    expect(auditEnvironment(parent, audited)).toMatchObject({
      PATH: "/bin",
      OTEL_AUDIT_ON_BEHALF_OF: "user:1",
      OTEL_AUDIT_POLICY: "/p.yaml",
      OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:1",
      OTEL_AUDIT_SPOOL_DIR: "/s",
      OTEL_AUDIT_DATA_DIR: "/d",
      OTEL_AUDIT_AGENT_ID: "a",
      OTEL_AUDIT_DISABLED: undefined,
    });
    expect(auditEnvironment(parent, { ...audited, policy: "/q.yaml", mode: "enforce" })).toMatchObject({
      OTEL_AUDIT_POLICY: "/q.yaml",
      OTEL_AUDIT_MODE: "enforce",
    });
  });
});
