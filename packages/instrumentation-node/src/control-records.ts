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
} from "@otel-audit/semantic-conventions";

import type { Target } from "./audit.ts";
import type { Core } from "./core.ts";
import type { Coverage } from "./coverage.ts";
import type { Gate } from "./gate.ts";
import { type Actor, resolveActor } from "./identity.ts";
import { VERSION } from "./version.ts";

/** Records about the audit itself. Their actor is otel-audit, on behalf of the process's own agent if it has one. */
export class ControlRecords {
  readonly #core: Core;
  readonly #gate: Gate;
  readonly #coverage: Coverage;
  readonly #actor: Actor;
  readonly #process: Target = { type: "process", id: `process://${hostname()}/${process.pid}` };

  constructor(core: Core, gate: Gate, coverage: Coverage, agent: Actor | undefined) {
    this.#core = core;
    this.#gate = gate;
    this.#coverage = coverage;
    const onBehalfOf = agent && { id: agent.id, type: agent.type };
    this.#actor = resolveActor({ id: "system:otel-audit", onBehalfOf }, undefined);
  }

  /** `process.start`. */
  start(): void {
    this.#write(EVENT_PROCESS_START, "EXECUTE", this.#process, {
      [ATTR_PROCESS_PID]: process.pid,
      [ATTR_PROCESS_PARENT_PID]: process.ppid,
      [ATTR_PROCESS_EXECUTABLE_PATH]: process.execPath,
      [ATTR_PROCESS_RUNTIME_NAME]: "nodejs",
      [ATTR_PROCESS_RUNTIME_VERSION]: process.versions.node,
      [ATTR_HOST_NAME]: hostname(),
      [ATTR_AUDIT_POLICY_MODE]: this.#gate.mode,
      ...this.#instrumentation(),
    });
  }

  /** `policy.loaded`, with the document: the hash in every other record refers to it. A failed load is one too. */
  policyLoaded(file: string | undefined): void {
    if (file === undefined) return;
    const attributes = {
      [ATTR_PROCESS_PID]: process.pid,
      [ATTR_AUDIT_POLICY_MODE]: this.#gate.mode,
      [ATTR_AUDIT_POLICY_DOCUMENT]: this.#gate.text ?? "",
    };
    const target: Target = { type: "file", id: pathToFileURL(file).href };
    this.#write(
      EVENT_POLICY_LOADED,
      "UPDATE",
      target,
      attributes,
      this.#gate.error === undefined ? undefined : "policy_error",
    );
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
    this.#write(EVENT_PROCESS_SUMMARY, "READ", this.#process, attributes);
    // The summary itself is nothing that the next one has to tell.
    this.#core.takeCounts();
  }

  /** `audit.bypass`: something that goes around the audit. */
  bypass(kind: string, detail: string): void {
    this.#write(EVENT_AUDIT_BYPASS, "EXECUTE", this.#process, {
      [ATTR_AUDIT_BYPASS_KIND]: kind,
      [ATTR_AUDIT_BYPASS_DETAIL]: detail,
    });
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
    target: Target,
    attributes: Readonly<Record<string, AttributeValue>>,
    errorType?: string,
  ): void {
    const { policy } = this.#gate;
    const verdict: Verdict = {
      decision: "allow",
      enforcement: "observed",
      policyId: policy.id,
      policyVersion: policy.version,
      ruleId: "control_record",
      reason: "a record of otel-audit about itself",
      action,
    };
    const outcome = errorType === undefined ? "success" : "failure";
    this.#core.write({ event, action, outcome, errorType, actor: this.#actor, targets: [target], verdict, attributes });
  }
}
