// The OpenTelemetry setup of a team: their exporter, their sampler, their instrumentations. One line of it is new.
import { HttpInstrumentation } from "@opentelemetry/instrumentation-http";
import { UndiciInstrumentation } from "@opentelemetry/instrumentation-undici";
import { NodeSDK } from "@opentelemetry/sdk-node";
import { ParentBasedSampler, TraceIdRatioBasedSampler } from "@opentelemetry/sdk-trace";
import { AuditInstrumentation } from "@otel-audit/instrumentation-node";

const sdk = new NodeSDK({
  sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(Number(process.env.SAMPLE_RATIO ?? "0.1")) }),
  instrumentations: [
    new HttpInstrumentation(),
    new UndiciInstrumentation(),
    new AuditInstrumentation(), // this one
  ],
});
sdk.start();
process.once("beforeExit", () => void sdk.shutdown());
