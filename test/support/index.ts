export { startOtlpSink, type OtlpSink, type SinkAnswer, type SinkRequest, type SinkSpan } from "./otlp-sink.ts";
export { startPostgres, type Postgres } from "./postgres.ts";
export {
  startHttpApi,
  type ApiAnswer,
  type ApiHandler,
  type ApiRequest,
  type HttpApi,
  type HttpApiOptions,
} from "./http-api.ts";
export { startProcess, type ExitStatus, type ProcessOptions, type RunningProcess } from "./process.ts";
export { freePort } from "./listen.ts";
export { tempDir } from "./temp-dir.ts";
export { otelAudit, startCollector, type CollectorEndpoints, type RunningCollector } from "./collector.ts";
export { startOtelcol } from "./otelcol.ts";
export { headOf, helpOf } from "./help.ts";
export { mountSmallDisk, type SmallDisk } from "./small-disk.ts";
