import { hostname } from "node:os";

import { ATTR_AUDIT_BYPASS_DETAIL, ATTR_AUDIT_BYPASS_KIND, EVENT_AUDIT_BYPASS } from "@otel-audit/semantic-conventions";

import { begin, count, isInside } from "./audit.ts";
import type { AuditPolicyDeniedError } from "./errors.ts";
import { isQuiet } from "./identity.ts";
import { bound } from "./text.ts";

/** What is noticed of the ways around the audit: `audit.bypass.kind`. */
export type BypassKind =
  /** A child process was started so that it is not audited, or by other rules. */
  | "child_unaudited"
  /** A thread was started that is not audited. */
  | "worker_unaudited"
  /** `process.binding` of a part of Node that acts. */
  | "process_binding"
  /** Native code was loaded: what it does is not seen. */
  | "native_addon"
  /** A part of Node was loaded that acts without being recorded. */
  | "uncovered_builtin"
  /** The debugger was opened: who is connected can do anything. */
  | "inspector"
  /** Hooks of the module loader run in a thread of their own, which is not audited. */
  | "module_hooks"
  /** A flag gives the application the inside of Node. */
  | "node_flag"
  /** A recorded function was put back as it was before. */
  | "patch_removed"
  /** A recorded function was replaced by another one. */
  | "patch_replaced"
  /** A runtime or a build of the application in which not everything is seen. */
  | "runtime";

const MAX_NOTICED = 1000;
let reportUnattributed: ((kind: BypassKind, detail: string) => void) | undefined;

/** Who records what nobody does, where nobody's actions are ignored. */
export function onUnattributedBypass(report: typeof reportUnattributed): void {
  reportUnattributed = report;
}

const noticed = new Set<string>();

/**
 * Records `audit.bypass`, once for each kind and detail; what comes again is counted. Only a rule of the policy that
 * names the event stops it, never the policy's default: what is noticed here is mostly how a library is made.
 *
 * @returns the denial, for the caller's channel
 */
export function noticeBypass(kind: BypassKind, detail: string): AuditPolicyDeniedError | undefined {
  const key = `${kind} ${detail}`;
  if (noticed.has(key)) {
    count("bypass");
    return undefined;
  }
  const operation = begin({
    event: EVENT_AUDIT_BYPASS,
    action: "EXECUTE",
    targets: [{ type: "process", id: `process://${hostname()}/${process.pid}` }],
    attributes: { [ATTR_AUDIT_BYPASS_KIND]: kind, [ATTR_AUDIT_BYPASS_DETAIL]: bound(detail, 1024) },
  });
  if (operation === undefined) {
    // Nobody's actions are ignored: ways around the audit are not. Our own are none: a record about what the spool
    // does, in the middle of writing another one, would take that one's place.
    if (isQuiet() || isInside()) return undefined;
    noticed.add(key);
    reportUnattributed?.(kind, detail);
    return undefined;
  }
  if (operation.denied !== undefined) return operation.denied;
  operation.end();
  if (noticed.size < MAX_NOTICED) noticed.add(key);
  return undefined;
}
