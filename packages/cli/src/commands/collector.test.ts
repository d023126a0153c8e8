import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { TracerProvider, SimpleSpanProcessor } from "@opentelemetry/sdk-trace";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { tempDir } from "../../../../test/support/index.ts";
import { otelAudit, startOtelAudit } from "../testing/command.ts";

describe("collector and query", () => {
  it("answers while the collector runs, and after it was stopped, the same", async () => {
    const dir = tempDir("collector");
    const config = join(dir, "c.yaml");
    const { stdout } = await otelAudit("collector", "print-config");
    // Free ports instead of the usual ones.
    writeFileSync(config, stdout.replaceAll(/127\.0\.0\.1:\d+/g, "127.0.0.1:0"));
    const data = join(dir, "data");
    await using collector = await startOtelAudit(["collector", "--config", config, "--data", data]);
    await collector.waitForLine("collector is ready");
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- written by our own collector
    const state = JSON.parse(readFileSync(join(data, "collector.json"), "utf8")) as { endpoints: { otlpHttp: string } };

    const exporter = new OTLPTraceExporter({ url: `${state.endpoints.otlpHttp}/v1/traces` });
    const provider = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] });
    const tracer = provider.getTracer("test");
    tracer.startSpan("debug").end();
    const attributes = {
      "audit.action": "READ",
      "audit.actor.id": "\x1b[2Jevil\u202e",
      "audit.target.id": "x\n', y",
      "audit.outcome": "success",
    };
    tracer.startSpan("audited", { attributes }).end();
    await provider.shutdown();

    const query = (format: string): ReturnType<typeof otelAudit> =>
      otelAudit("query", "--data", data, "--agent", attributes["audit.actor.id"], "--format", format);
    let running = await query("json");
    // What was acknowledged is on disk; the table has it when its segment is closed.
    while (running.stdout === "[]\n") running = await query("json");
    expect(JSON.parse(running.stdout)).toMatchObject([
      { ActorId: attributes["audit.actor.id"], TargetId: "x\n', y", Provenance: "asserted" },
    ]);

    expect(await collector.kill("SIGTERM")).toEqual({ code: 0, signal: null });
    expect(await query("json")).toEqual(running);
    for (const format of ["table", "csv", "jsonl"]) {
      const { stdout, code } = await query(format);
      expect(code).toBe(0);
      expect(stdout).toContain("evil");
      expect(stdout.replaceAll(/\r?\n/g, "")).not.toMatch(/[\p{Cc}\p{Cf}]/u);
    }
  });

  it.each([
    ["collector", "--data", ""],
    ["query", "--data", ""],
    ["run", "--keep", "", "--", "true"],
  ])("refuses to take the working directory for one without a name: %s %s", async (...args) => {
    const { code, stderr } = await otelAudit(...args);
    expect(stderr).toContain("It must name a directory.");
    expect(code).toBe(2);
  });
});
