// The tracing that a team has already: a NodeSDK with the official instrumentations. OURS says where `new AuditInstrumentation()`
// stands among them. Ids come from a counter: whatever somebody else takes from the application's tracing shows as another id.
import { HttpInstrumentation } from "@opentelemetry/instrumentation-http";
import { FsInstrumentation } from "@opentelemetry/instrumentation-fs";
import { PgInstrumentation } from "@opentelemetry/instrumentation-pg";
import { UndiciInstrumentation } from "@opentelemetry/instrumentation-undici";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { NodeSDK } from "@opentelemetry/sdk-node";
import {
  AlwaysOnSampler,
  BatchSpanProcessor,
  ParentBasedSampler,
  TraceIdRatioBasedSampler,
  type Sampler,
} from "@opentelemetry/sdk-trace";
import type { AuditInstrumentation } from "@otel-audit/instrumentation-node";
import { createRequire } from "node:module";

const { OURS, SAMPLER, OFFICIAL } = process.env;

/** Every question that the application's sampler was asked. */
export const asked: string[] = [];

function listening(sampler: Sampler): Sampler {
  return {
    shouldSample: (context, traceId, name, ...rest) => {
      asked.push(`${traceId} ${name}`);
      return sampler.shouldSample(context, traceId, name, ...rest);
    },
    toString: () => sampler.toString(),
  };
}

let traces = 0;
let spans = 0;
const idGenerator = {
  generateTraceId: () => (++traces).toString(16).padStart(32, "a"),
  generateSpanId: () => (++spans).toString(16).padStart(16, "b"),
};

const root = SAMPLER === "ratio-0" ? new TraceIdRatioBasedSampler(0) : new AlwaysOnSampler();
/** Loaded only here: what its modules take from `http` and `fs` depends on who was there first. */
async function audit(): Promise<AuditInstrumentation[]> {
  const { AuditInstrumentation } = await import("@otel-audit/instrumentation-node");
  return [new AuditInstrumentation()];
}
const before = OURS === "before" ? await audit() : [];
const official =
  OFFICIAL === "1"
    ? [
        new HttpInstrumentation(),
        new UndiciInstrumentation(),
        new PgInstrumentation(),
        // Without a parent come the files that modules are loaded from.
        new FsInstrumentation({ requireParentSpan: true }),
      ]
    : [];
// The official ones patch a builtin when it is required.
const require = createRequire(import.meta.url);
for (const name of ["http", "https", "fs", "fs/promises"]) require(name);
const after = OURS === "after" ? await audit() : [];

export const sdk = new NodeSDK({
  sampler: listening(new ParentBasedSampler({ root })),
  idGenerator,
  spanProcessors: [new BatchSpanProcessor({ exporter: new OTLPTraceExporter() })],
  instrumentations: [...before, ...official, ...after],
  autoDetectResources: false,
});
sdk.start();
