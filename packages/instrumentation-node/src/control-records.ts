import { hostname } from "node:os";
import { pathToFileURL } from "node:url";

import type { AttributeValue } from "@otel-audit/otlp";
import type { Verdict } from "@otel-audit/policy";
import {
  ATTR_AUDIT_BYPASS_DETAIL,
  ATTR_AUDIT_BYPASS_KIND,
  ATTR_AUDIT_INSTRUMENTATION_COVERED,
  ATTR_AUDIT_INSTRUMENTATION_UNCOVERED,
  ATTR_AUDIT_INSTRUMENTATION_VERSION,
  ATTR_AUDIT_POLICY_DOCUMENT,
  ATTR_AUDIT_POLICY_MODE,
  ATTR_AUDIT_REVIEW_APPROVER,
  ATTR_AUDIT_REVIEW_DECISION,
  ATTR_AUDIT_REVIEW_ID,
  ATTR_AUDIT_REVIEW_REASON,
  ATTR_AUDIT_SUMMARY_IGNORED,
  ATTR_AUDIT_SUMMARY_LOST,
  ATTR_AUDIT_SUMMARY_RECORDED,
  ATTR_HOST_NAME,
  ATTR_PROCESS_EXECUTABLE_PATH,
  ATTR_PROCESS_PARENT_PID,
  ATTR_PROCESS_PID,
  ATTR_PROCESS_RUNTIME_NAME,
  ATTR_PROCESS_RUNTIME_VERSION,
  type AuditAction,
  EVENT_AUDIT_BYPASS,
  EVENT_POLICY_LOADED,
  EVENT_PROCESS_START,
  EVENT_PROCESS_SUMMARY,
  EVENT_REVIEW_DECIDED,
  EVENT_REVIEW_REQUESTED,
} from "@otel-audit/semantic-conventions";

import type { Target } from "./audit.ts";
import type { Core } from "./core.ts";
import type { Coverage } from "./coverage.ts";
import type { Gate } from "./gate.ts";
import { type Actor, resolveActor } from "./identity.ts";
import type { OpenReview, ReviewRecords } from "./review-desk.ts";
import type { ReviewResult } from "./reviews.ts";
import { bound } from "./text.ts";
import { VERSION } from "./version.ts";

/** What is not the same in every control record. */
interface Particulars {
  readonly target?: Target;
  /** Default otel-audit itself. */
  readonly actor?: Actor | undefined;
  /** Id of the record that led to this one. */
  readonly cause?: string | undefined;
  readonly errorType?: string | undefined;
  readonly reason?: string;
  readonly durable?: boolean;
}

/** Records about the audit itself. Their actor is otel-audit, on behalf of the process's own agent if it has one. */
export class ControlRecords implements ReviewRecords {
  readonly #core: Core;
  readonly #gate: () => Gate;
  readonly #coverage: Coverage;
  readonly #actor: Actor;
  readonly #process: Target = { type: "process", id: `process://${hostname()}/${process.pid}` };

  constructor(core: Core, gate: () => Gate, coverage: Coverage, agent: Actor | undefined) {
    this.#core = core;
    this.#gate = gate;
    this.#coverage = coverage;
    const onBehalfOf = agent && { id: agent.id, type: agent.type };
    this.#actor = resolveActor({ id: "system:otel-audit", onBehalfOf }, undefined);
  }

  /** `process.start`. */
  start(): void {
    this.#write(EVENT_PROCESS_START, "EXECUTE", {
      [ATTR_PROCESS_PID]: process.pid,
      [ATTR_PROCESS_PARENT_PID]: process.ppid,
      [ATTR_PROCESS_EXECUTABLE_PATH]: process.execPath,
      [ATTR_PROCESS_RUNTIME_NAME]: "nodejs",
      [ATTR_PROCESS_RUNTIME_VERSION]: process.versions.node,
      [ATTR_HOST_NAME]: hostname(),
      [ATTR_AUDIT_POLICY_MODE]: this.#gate().mode,
      ...this.#instrumentation(),
    });
  }

  /** `policy.loaded`, with the document: the hash in every other record refers to it. A failed load is one too. */
  policyLoaded(file: string | undefined): void {
    if (file === undefined) return;
    const { mode, text, error } = this.#gate();
    const attributes = {
      [ATTR_PROCESS_PID]: process.pid,
      [ATTR_AUDIT_POLICY_MODE]: mode,
      [ATTR_AUDIT_POLICY_DOCUMENT]: text ?? "",
    };
    const errorType = error === undefined ? undefined : "policy_error";
    this.#write(EVENT_POLICY_LOADED, "UPDATE", attributes, { target: fileTarget(file), errorType });
  }

  /** `policy.loaded` of a change that cannot be used. The policy that the record names is the one that stays in force. */
  policyRefused(file: string, error: Error): void {
    const attributes = { [ATTR_PROCESS_PID]: process.pid, [ATTR_AUDIT_POLICY_MODE]: this.#gate().mode };
    const reason = `the changed policy cannot be used, the one before it stays: ${error.message.split("\n", 1)[0]}`;
    const particulars = { target: fileTarget(file), errorType: "policy_error", reason: bound(reason, MAX_REASON) };
    this.#write(EVENT_POLICY_LOADED, "UPDATE", attributes, particulars);
  }

  /** `review.requested`, of the agent whose action waits; of otel-audit where it is nobody's. */
  reviewRequested({ id, approver, reviewed }: OpenReview): boolean {
    const attributes = { [ATTR_AUDIT_REVIEW_ID]: id, [ATTR_AUDIT_REVIEW_APPROVER]: approver.name };
    const { actor, recordId: cause } = reviewed;
    return this.#write(EVENT_REVIEW_REQUESTED, "EXECUTE", attributes, { actor, cause, durable: true });
  }

  /** `review.decided`, of whoever decided; where nobody did, of otel-audit, and a failure. */
  reviewDecided({ id, reviewed }: OpenReview, { decision, by, reason }: ReviewResult): boolean {
    const attributes = {
      [ATTR_AUDIT_REVIEW_ID]: id,
      [ATTR_AUDIT_REVIEW_DECISION]: decision,
      ...(reason !== undefined && { [ATTR_AUDIT_REVIEW_REASON]: reason }),
    };
    return this.#write(EVENT_REVIEW_DECIDED, "EXECUTE", attributes, {
      actor: by === undefined ? undefined : resolveActor({ id: by, type: userUnless(by) }, undefined),
      cause: reviewed.recordId,
      errorType: by === undefined ? (decision === "expired" ? "timeout" : "approver_failed") : undefined,
      durable: true,
    });
  }

  /** `process.summary`, if anything happened since the last one. */
  summary(): void {
    if (!this.#core.hasCounts) return;
    const counts = this.#core.takeCounts();
    const attributes: Record<string, AttributeValue> = {
      [ATTR_PROCESS_PID]: process.pid,
      ...this.#instrumentation(),
      [ATTR_AUDIT_SUMMARY_LOST]: counts.lost,
    };
    for (const [event, count] of counts.recorded) attributes[ATTR_AUDIT_SUMMARY_RECORDED(event)] = count;
    for (const [kind, count] of counts.ignored) attributes[ATTR_AUDIT_SUMMARY_IGNORED(kind)] = count;
    this.#write(EVENT_PROCESS_SUMMARY, "READ", attributes);
    // The summary itself is nothing that the next one has to tell.
    this.#core.takeCounts();
  }

  /**
   * `audit.bypass`: something that goes around the audit.
   * @param cause id of the record of the action that did
   */
  bypass(kind: string, detail: string, cause?: string): void {
    const attributes = { [ATTR_AUDIT_BYPASS_KIND]: kind, [ATTR_AUDIT_BYPASS_DETAIL]: detail };
    this.#write(EVENT_AUDIT_BYPASS, "EXECUTE", attributes, { cause });
  }

  #instrumentation(): Record<string, AttributeValue> {
    return {
      [ATTR_AUDIT_INSTRUMENTATION_VERSION]: VERSION,
      [ATTR_AUDIT_INSTRUMENTATION_COVERED]: this.#coverage.covered,
      [ATTR_AUDIT_INSTRUMENTATION_UNCOVERED]: this.#coverage.uncovered,
    };
  }

  #write(
    event: string,
    action: AuditAction,
    attributes: Readonly<Record<string, AttributeValue>>,
    { target = this.#process, actor = this.#actor, cause, errorType, reason = OWN, durable }: Particulars = {},
  ): boolean {
    const { policy } = this.#gate();
    const verdict: Verdict = {
      decision: "allow",
      enforcement: "observed",
      policyId: policy.id,
      policyVersion: policy.version,
      ruleId: "control_record",
      reason,
      action,
    };
    const outcome = errorType === undefined ? "success" : "failure";
    return this.#core.write(
      { event, action, outcome, errorType, actor, cause, targets: [target], verdict, attributes },
      durable,
    );
  }
}

const OWN = "a record of otel-audit about itself";
const MAX_REASON = 1024;

function fileTarget(file: string): Target {
  return { type: "file", id: pathToFileURL(file).href };
}

/** A person decides, unless the id says that something else does. */
function userUnless(id: string): "user" | undefined {
  return /^(?:agent|service|system|user):/.test(id) ? undefined : "user";
}
