import type { Approver } from "./approver.ts";
import { prepare, running, setApprover, start, stop } from "./start.ts";
import { SCOPE_NAME, VERSION } from "./version.ts";

/** What OpenTelemetry's registerInstrumentations reads and sets. */
export interface AuditInstrumentationConfig {
  enabled?: boolean;
  /** Decides on actions that a rule wants reviewed; see `setApprover`. Default: nobody, a review is a deny. */
  approver?: Approver;
}

/**
 * The audit as an OpenTelemetry instrumentation: `instrumentations: [new AuditInstrumentation()]`. It is the same audit
 * that `register` starts, once for a thread, configured by the environment. The tracer and meter providers that it is
 * handed are not used: they sample, batch and drop, and an audit must do none of these.
 *
 * `register` comes before the application's modules and should be preferred: what the application took out of a
 * module before this constructor ran is not seen.
 */
export class AuditInstrumentation {
  readonly instrumentationName = SCOPE_NAME;
  readonly instrumentationVersion = VERSION;

  constructor(config: AuditInstrumentationConfig = {}) {
    if (config.approver !== undefined) setApprover(config.approver);
    if (config.enabled !== false) this.enable();
  }

  /** Starts the audit, if it does not run. */
  enable(): void {
    // Drivers that need more than a synchronous start are complete when this is done.
    void prepare();
    start();
  }

  /** Takes the patches out. An audit does not end in silence: this is recorded as `audit.bypass`. */
  disable(): void {
    stop("AuditInstrumentation.disable()");
  }

  setTracerProvider(_provider: unknown): void {}

  setMeterProvider(_provider: unknown): void {}

  setLoggerProvider(_provider: unknown): void {}

  setConfig(config: AuditInstrumentationConfig): void {
    if (config.enabled === true) this.enable();
  }

  getConfig(): AuditInstrumentationConfig {
    return { enabled: running() !== undefined };
  }
}
