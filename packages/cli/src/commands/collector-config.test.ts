import { DEFAULT_CONFIG } from "@otel-audit/collector";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { tempDir } from "../../../../test/support/index.ts";
import { otelAudit } from "../testing/command.ts";

const dir = tempDir("config-command");

function file(name: string, text: string): string {
  writeFileSync(join(dir, name), text);
  return join(dir, name);
}

const forward = file(
  "forward.yaml",
  `receivers: { otlp: { protocols: { http: {} } } }
exporters:
  clickhouse_audit: { endpoint: "http://127.0.0.1:8123" }
  otlphttp: { endpoint: "http://127.0.0.1:4319", headers: { authorization: "Bearer \${env:FORWARD_KEY}" } }
service: { pipelines: { traces: { receivers: [otlp], exporters: [clickhouse_audit, otlphttp] } } }
`,
);
const builtIn = file("built-in.yaml", DEFAULT_CONFIG);
const later = file("later.yaml", "exporters: { otlphttp: { timeout: 5s } }\n");

describe("collector validate", () => {
  it("says nothing of a right configuration", async () => {
    const env = { FORWARD_KEY: "k" };
    const kept = ["--set", "service.pipelines.traces.processors=[audit]", "--config", later];
    for (const args of [
      [],
      ["--config", builtIn, ...kept, "--set", "exporters.otlphttp.endpoint=http://127.0.0.1:4319"],
    ]) {
      expect(await otelAudit.with({ env }, "collector", "validate", ...args)).toEqual({
        code: 0,
        stdout: "",
        stderr: "",
      });
    }
  });

  it("says what the start would say", async () => {
    const args = ["--set", "service.extensions=[health_check]"];
    const told = {
      code: 2,
      stdout: "",
      stderr:
        'otel-audit: exporters::clickhouse_audit::engine: references "clickhouse_embedded", which is not a clickhouse_embedded extension listed under service::extensions\n',
    };
    expect(await otelAudit("collector", "validate", ...args)).toEqual(told);
    expect(await otelAudit("collector", "--data", join(dir, "data"), ...args)).toEqual(told);
  });

  it("ends with 2 and the path of what is wrong, wherever the option stands", async () => {
    const set = "processors.batch.timeout=2s";
    for (const args of [
      ["collector", "validate", "--set", set],
      ["collector", "--set", set, "validate"],
    ]) {
      const { code, stderr } = await otelAudit(...args);
      expect(code).toBe(2);
      expect(stderr).toMatch(/^otel-audit: processors::batch: is not a component of this collector: it acknowledges/);
    }
  });

  it("tells of a variable that is not set", async () => {
    const { code, stderr } = await otelAudit("collector", "validate", "--config", forward);
    expect(code).toBe(0);
    expect(stderr).toContain(
      "exporters::otlphttp::headers::authorization: the variable FORWARD_KEY is not set and stands for nothing",
    );
  });

  it("names the file that cannot be read", async () => {
    const { code, stderr } = await otelAudit("collector", "--config", join(dir, "nosuch.yaml"));
    expect(code).toBe(2);
    expect(stderr).toContain(`cannot read "${join(dir, "nosuch.yaml")}": no such file or directory`);
  });
});

describe("print-config", () => {
  it("prints what is built in, with its comments", async () => {
    const { stdout } = await otelAudit("print-config");
    expect(stdout).toMatch(/^#/);
    expect(await otelAudit("collector", "print-config")).toMatchObject({ code: 0, stdout });
  });

  it("prints the merged configuration with defaults and without secrets", async () => {
    const args = ["--config", forward, "--config", later, "--set", "service.telemetry.logs.level=warn"];
    const { code, stdout } = await otelAudit.with({ env: { FORWARD_KEY: "very-secret" } }, "print-config", ...args);
    expect(code).toBe(0);
    expect(stdout).not.toContain("very-secret");
    expect(parse(stdout)).toMatchObject({
      exporters: {
        otlphttp: {
          endpoint: "http://127.0.0.1:4319",
          timeout: "5s",
          compression: "none",
          headers: { authorization: "[REDACTED]" },
        },
      },
      service: { telemetry: { logs: { level: "warn", encoding: "json" } } },
    });
  });

  it("prints what an otelcol needs", async () => {
    const options = "--endpoint https://audit.internal:4318 --token-env AUDIT_TOKEN --storage /srv/queue".split(" ");
    const { code, stdout } = await otelAudit("print-config", "--for", "otelcol", ...options);
    expect(code).toBe(0);
    expect(parse(stdout)).toMatchObject({
      exporters: {
        "otlphttp/otel_audit": {
          endpoint: "https://audit.internal:4318",
          headers: { authorization: "Bearer ${env:AUDIT_TOKEN}" },
          retry_on_failure: { max_elapsed_time: "0s" },
          sending_queue: { storage: "file_storage/otel_audit" },
        },
      },
      extensions: { "file_storage/otel_audit": { directory: "/srv/queue", fsync: true } },
    });
  });

  it("refuses options that belong together alone", async () => {
    expect(await otelAudit("print-config", "--endpoint", "http://x")).toMatchObject({ code: 2 });
    expect(await otelAudit("print-config", "--for", "otelcol", "--endpoint", "x")).toMatchObject({ code: 2 });
  });
});
