import { isMainThread } from "node:worker_threads";

import type { Approver } from "./approver.ts";
import { type AuditConfig, configFromEnvironment } from "./config.ts";
import { drivers } from "./drivers/index.ts";
import { InstrumentationError } from "./errors.ts";
import { shareIdentity } from "./identity.ts";
import { announce, AuditRuntime, say } from "./runtime.ts";
import { isFunction } from "./unknown.ts";

/** What other copies of this package in the process may ask of the running audit: nothing that its own API does not give. */
type Running = Pick<AuditRuntime, "flush" | "setApprover" | "shutdown" | "stop">;

/** Set on globalThis by the copy of this package that patched: a second copy must not patch again. */
const RUNNING = Symbol.for("otel-audit.running.1");
const processWide: typeof globalThis & { [RUNNING]?: Running } = globalThis;

/** The audit of this thread, if it runs. */
export function running(): Running | undefined {
  return processWide[RUNNING];
}

function share(runtime: AuditRuntime): Running {
  return Object.freeze({
    flush: runtime.flush.bind(runtime),
    setApprover: runtime.setApprover.bind(runtime),
    shutdown: runtime.shutdown.bind(runtime),
    stop: runtime.stop.bind(runtime),
  });
}

/** Of an application that is ready before its audit is. */
let early: Approver | undefined;

/**
 * Sets the function that decides, in enforce mode, on actions that a rule wants reviewed; once for a thread. With
 * OTEL_AUDIT_APPROVER the endpoint decides and the function is not asked.
 *
 * @throws InstrumentationError INVALID_CONFIG if it is not a function
 */
export function setApprover(approver: Approver): void {
  if (!isFunction(approver)) {
    throw new InstrumentationError("INVALID_CONFIG", `setApprover: must be a function, got ${typeof approver}`);
  }
  const runtime = running();
  if (runtime === undefined) early ??= approver;
  else runtime.setApprover(approver);
}

/** Work of the drivers that cannot be done synchronously. */
export async function prepare(): Promise<void> {
  for (const driver of drivers) await driver.prepare?.();
}

/**
 * Starts the audit of this thread, unless it runs. Does nothing with OTEL_AUDIT_DISABLED.
 * @throws InstrumentationError INVALID_CONFIG or SPOOL
 */
export function start(config: AuditConfig = configFromEnvironment()): void {
  if (running() !== undefined) return;
  if (config.disabled) {
    if (isMainThread) say("disabled by OTEL_AUDIT_DISABLED; nothing is recorded");
    return;
  }
  const runtime = new AuditRuntime(config, drivers);
  Object.defineProperty(processWide, RUNNING, { value: share(runtime), configurable: true });
  shareIdentity();
  if (early !== undefined) runtime.setApprover(early);
  announce(runtime);
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
