/** Codes of InstrumentationError. */
export type InstrumentationErrorCode =
  /** An option or environment variable has a value outside its range. */
  | "INVALID_CONFIG"
  /** `withAgent` was called without a usable identity. */
  | "INVALID_IDENTITY"
  /** `withToolCall` was called without the name of a tool. */
  | "INVALID_TOOL_CALL"
  /** In enforce mode: a runtime or a bundle in which not everything can be seen. */
  | "UNSUPPORTED"
  /** The spool directory cannot be used. */
  | "SPOOL";

/** What goes wrong in the instrumentation itself. It reaches callers of our own API only, never an instrumented call. */
export class InstrumentationError extends Error {
  override readonly name = "InstrumentationError";
  readonly code: InstrumentationErrorCode;

  constructor(code: InstrumentationErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/**
 * The policy stopped an action before it ran. It arrives through the channel of the API that was called: thrown,
 * as a rejection, as a callback's first argument or as an `error` event.
 */
export class AuditPolicyDeniedError extends Error {
  override readonly name = "AuditPolicyDeniedError";
  readonly code = "EAUDITDENIED";
  /** The rule that decided; `default` when none matched, `policy_error` when the policy could not be evaluated. */
  readonly rule: string;
  readonly reason: string;
  /** `audit.record.id` of the record that says so. */
  readonly recordId: string;

  constructor(denial: { rule: string; reason: string; recordId: string; event: string; target: string }) {
    super(
      `${denial.event} on ${denial.target} was denied by audit policy rule "${denial.rule}": ${denial.reason} (record ${denial.recordId})`,
    );
    this.rule = denial.rule;
    this.reason = denial.reason;
    this.recordId = denial.recordId;
  }
}

/** More waits in the spool than it may hold. Never reaches the application. */
export class SpoolFullError extends Error {
  constructor(maxBytes: number) {
    super(`the spool is full (OTEL_AUDIT_SPOOL_MAX_BYTES is ${maxBytes})`);
    this.name = "SpoolFullError";
  }
}
