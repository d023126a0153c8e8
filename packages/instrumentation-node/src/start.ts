import { isMainThread } from "node:worker_threads";

import { type AuditConfig, configFromEnvironment } from "./config.ts";
import { drivers } from "./drivers/index.ts";
import { shareIdentity } from "./identity.ts";
import { announce, AuditRuntime, say } from "./runtime.ts";

/** Set on globalThis by the copy of this package that patched: a second copy must not patch again. */
const RUNNING = Symbol.for("otel-audit.running.1");
const processWide: typeof globalThis & { [RUNNING]?: AuditRuntime } = globalThis;

/** The audit of this thread, if it runs. */
export function running(): AuditRuntime | undefined {
  return processWide[RUNNING];
}

/** Work of the drivers that cannot be done synchronously. */
export async function prepare(): Promise<void> {
  for (const driver of drivers) await driver.prepare?.();
}

/**
 * Starts the audit of this thread; a second call returns what runs. Undefined with OTEL_AUDIT_DISABLED.
 * @throws InstrumentationError INVALID_CONFIG or SPOOL
 */
export function start(config: AuditConfig = configFromEnvironment()): AuditRuntime | undefined {
  const existing = running();
  if (existing !== undefined) return existing;
  if (config.disabled) {
    if (isMainThread) say("disabled by OTEL_AUDIT_DISABLED; nothing is recorded");
    return undefined;
  }
  const runtime = new AuditRuntime(config, drivers);
  Object.defineProperty(processWide, RUNNING, { value: runtime, configurable: true });
  shareIdentity();
  announce(runtime);
  return runtime;
}

/** Stops the audit of this thread, with a record. */
export function stop(who: string): void {
  const runtime = running();
  if (runtime === undefined) return;
  Reflect.deleteProperty(processWide, RUNNING);
  runtime.stop(who);
}

/**
 * Sends everything recorded so far, one attempt; false if something is left in the spool. For programs that are frozen
 * or ended without warning, such as serverless handlers.
 * @param timeoutMs at most this long; default 5000
 */
export async function flush(timeoutMs?: number): Promise<boolean> {
  return (await running()?.flush(timeoutMs)) ?? true;
}

/** Stops the audit of this thread, with a record, and sends everything. For the end of a program. */
export async function shutdown(): Promise<void> {
  const runtime = running();
  if (runtime === undefined) return;
  Reflect.deleteProperty(processWide, RUNNING);
  await runtime.shutdown("shutdown()");
}
