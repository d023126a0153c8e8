export { AuditInstrumentation, type AuditInstrumentationConfig } from "./instrumentation.ts";
export { type Actor, type AgentIdentity, currentAgent, type ToolCall, withAgent, withToolCall } from "./identity.ts";
export { type FlushOptions, withFlush } from "./serverless.ts";
export { flush, setApprover, shutdown } from "./start.ts";
export type { Approver, ReviewAnswer, ReviewRequest } from "./approver.ts";
export { type AuditConfig, configFromEnvironment } from "./config.ts";
export { type ShippedSpool, shipSpool, type ShipSpoolOptions } from "./spool/ship.ts";
export { AuditPolicyDeniedError, InstrumentationError, type InstrumentationErrorCode } from "./errors.ts";
