export { AuditPolicyDeniedError, InstrumentationError, type InstrumentationErrorCode } from "./errors.ts";
