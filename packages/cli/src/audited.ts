import { CliError } from "./errors.ts";

/** Where the audit of a process says that it runs. */
const RUNNING = Symbol.for("otel-audit.running.1");

/**
 * What is audited must not touch the audit's own files, and this command is, where the environment starts the audit in
 * every Node. It cannot be let through: an agent could start it, or what looks like it, in its own name.
 *
 * @throws CliError `USAGE`
 */
export function refuseUnderAudit(what: string): void {
  if (!Object.hasOwn(globalThis, RUNNING)) return;
  throw new CliError(
    "USAGE",
    `${what} works on the audit's own files, and is itself started under the audit (NODE_OPTIONS); start it with OTEL_AUDIT_DISABLED=1`,
  );
}
