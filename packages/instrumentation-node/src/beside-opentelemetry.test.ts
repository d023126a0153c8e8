import { expect, test } from "vitest";

import { type OtlpSink, startOtlpSink } from "../../../test/support/index.ts";
import { property } from "./unknown.ts";
import { type App, makeApp, PACKAGES, type Run, summary, text } from "./testing/run-app.ts";

/** An application with an OpenTelemetry set-up of its own and the official fs instrumentation. */
const SETUP = (ratio: number): string => `
  const { TracerProvider, BatchSpanProcessor, TraceIdRatioBasedSampler } = require("@opentelemetry/sdk-trace");
  const { OTLPTraceExporter } = require("@opentelemetry/exporter-trace-otlp-proto");
  const { AsyncLocalStorageContextManager } = require("@opentelemetry/context-async-hooks");
  const { registerInstrumentations } = require("@opentelemetry/instrumentation");
  const { FsInstrumentation } = require("@opentelemetry/instrumentation-fs");
  const api = require("@opentelemetry/api");
  const provider = new TracerProvider({
    sampler: new TraceIdRatioBasedSampler(${ratio}),
    spanProcessors: [new BatchSpanProcessor({ exporter: new OTLPTraceExporter({ url: process.env.DEBUG_URL }) })],
  });
  api.context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  api.trace.setGlobalTracerProvider(provider);`;

const REGISTER_OFFICIAL = `registerInstrumentations({ instrumentations: [new FsInstrumentation()], tracerProvider: provider }); require("fs");`;
const REGISTER_OURS = `registerInstrumentations({ instrumentations: [new AuditInstrumentation()], tracerProvider: provider });`;

const WORK = `
  const fs = require("fs");
  (async () => {
    await api.trace.getTracer("app").startActiveSpan("request", async (span) => {
      fs.writeFileSync("f", "x");
      await fs.promises.readFile("f");
      await new Promise((done) => fs.readFile("f", done));
      try { fs.readFileSync("none"); } catch {}
      console.log(JSON.stringify(span.spanContext()));
      span.end();
    });
    await provider.shutdown();
  })();`;

const EXPECTED = ["write WRITE success", "read READ success", "read READ success", "read READ failure ENOENT"];

async function runBeside(app: App, debug: OtlpSink, nodeArgs?: readonly string[]): Promise<Run> {
  const env = { DEBUG_URL: debug.tracesUrl };
  return app.run(nodeArgs === undefined ? { env } : { env, nodeArgs });
}

/** Applications live outside the repository; their packages come from it. */
function app(source: string): Promise<App> {
  // Ours is loaded first: the official instrumentation sees the loading of every module as reading.
  const ours = new URL("../dist/index.js", import.meta.url).pathname;
  const require = `const require = process.getBuiltinModule("node:module").createRequire("${PACKAGES}");
    const { AuditInstrumentation } = require("${ours}");`;
  return makeApp({
    "main.mjs": `${require}\n${source}`,
  });
}

function debugNames(debug: OtlpSink): string[] {
  return debug.spans.map((span) => span.name).toSorted();
}

test.each([
  ["register, before", REGISTER_OFFICIAL, undefined],
  ["AuditInstrumentation, before", REGISTER_OURS + REGISTER_OFFICIAL, []],
  ["AuditInstrumentation, after", REGISTER_OFFICIAL + REGISTER_OURS, []],
] as const)(
  "ours by %s the official instrumentation: one record an action, its spans untouched",
  async (_, register, nodeArgs) => {
    await using alone = await app(SETUP(1) + REGISTER_OFFICIAL + WORK);
    await using aloneDebug = await startOtlpSink();
    expect(await runBeside(alone, aloneDebug, [])).toMatchObject({ code: 0, actions: [] });

    await using both = await app(SETUP(1) + register + WORK);
    await using debug = await startOtlpSink();
    const run = await runBeside(both, debug, nodeArgs);
    expect(run.code).toBe(0);
    const ours = run.actions.filter((span) => text(span, "audit.target.id").startsWith(`file://${both.work}`));
    expect(ours.map((span) => summary(span).replace(/^file\.| file:.*$/g, ""))).toEqual(EXPECTED);
    expect(debugNames(debug)).toEqual(debugNames(aloneDebug));
    expect(debug.spans.some((span) => "audit.action" in (span.attributes ?? {}))).toBe(false);
  },
);

test.each([0, 1])("a sampler at ratio %d: every record arrives, in the trace of the application", async (ratio) => {
  await using sampled = await app(SETUP(ratio) + WORK);
  await using debug = await startOtlpSink();
  const run = await runBeside(sampled, debug);
  const context: unknown = JSON.parse(run.stdout);
  const [traceId, spanId] = [property(context, "traceId"), property(context, "spanId")];
  const ours = run.actions.filter((span) => text(span, "audit.target.id").startsWith(`file://${sampled.work}`));
  expect(ours).toHaveLength(EXPECTED.length);
  for (const span of ours) expect(span).toMatchObject({ traceId, parentSpanId: spanId });
  expect(new Set(ours.map((span) => span.spanId)).size).toBe(EXPECTED.length);
  expect(debugNames(debug)).toEqual(ratio === 0 ? [] : ["request"]);
});

test("suppressTracing does not suppress the audit", async () => {
  await using suppressed = await app(`${SETUP(1)}
    const { suppressTracing } = require("@opentelemetry/core");
    api.context.with(suppressTracing(api.context.active()), () => require("fs").writeFileSync("f", ""));`);
  await using debug = await startOtlpSink();
  const run = await runBeside(suppressed, debug);
  expect(run.actions.map(summary)).toContain(`file.write WRITE success file://${suppressed.work}/f`);
});
