import type { AttributeValue } from "@otel-audit/otlp";
import type { PolicyEvaluator, PolicyMode, Verdict } from "@otel-audit/policy";
import type { AuditAction, AuditOutcome } from "@otel-audit/semantic-conventions";

import { type AuditCore, type ObservedAction, type Operation, quietly } from "./audit.ts";
import { nowMicros } from "./clock.ts";
import type { Unattributed } from "./config.ts";
import type { Defaults } from "./defaults.ts";
import { AuditPolicyDeniedError } from "./errors.ts";
import { currentScope, isQuiet, mayRecord, type Scope } from "./identity.ts";
import { newRecordId } from "./ids.ts";
import { type AuditRecord, RecordEncoder } from "./record-encoder.ts";
import { type ActiveSpan, activeSpan } from "./trace-context.ts";
import { property } from "./unknown.ts";

/** Where finished records go; it may throw, and the record is then lost and counted. */
export interface Sink {
  append(record: Uint8Array): void;
  /** Throws if `append` would, as far as that can be known beforehand. */
  check(): void;
}

/** What the core needs to know. */
export interface CoreOptions {
  readonly policy: PolicyEvaluator;
  readonly mode: PolicyMode;
  readonly unattributed: Unattributed;
  /** The mode of the deny of what nobody did. Default: `mode`. */
  readonly unattributedMode?: PolicyMode;
  readonly defaults: Defaults;
  readonly sink: Sink;
  /** Hears of records that could not be written and of faults of our own. */
  readonly onTrouble: (message: string) => void;
}

/** What was recorded, ignored and lost since the last summary. */
export interface Counts {
  readonly recorded: ReadonlyMap<string, number>;
  readonly ignored: ReadonlyMap<string, number>;
  readonly lost: number;
}

type Attributes = Readonly<Record<string, AttributeValue>>;

/** Rule id of the deny of what nobody did, with OTEL_AUDIT_UNATTRIBUTED=deny. */
const UNATTRIBUTED_RULE = "unattributed";
/** Rule id of the deny, in enforce mode, of what could not be recorded. */
const SPOOL_RULE = "spool_error";
const DEFAULT_RULE = "default";
/** How long the spool is not tried again after a failure, in milliseconds. */
const SPOOL_PAUSE_MS = 1000;

/** Identity, verdict, record: what happens around every action. */
export class Core implements AuditCore {
  readonly #options: CoreOptions;
  readonly #encoder = new RecordEncoder();
  readonly #ignoresNobody: boolean;
  #recorded = new Map<string, number>();
  #ignored = new Map<string, number>();
  #unattributed = 0;
  #lost = 0;
  #spoolFailedAt = Number.NEGATIVE_INFINITY;
  #faults = 0;

  constructor(options: CoreOptions) {
    this.#options = options;
    this.#ignoresNobody = options.unattributed === "ignore";
  }

  observes(): boolean {
    if (mayRecord(!this.#ignoresNobody)) return true;
    // Of what is ignored because nobody did it, a number is kept, and not even a map entry touched.
    if (this.#ignoresNobody && !isQuiet()) this.#unattributed++;
    return false;
  }

  count(kind: string): void {
    this.#ignored.set(kind, (this.#ignored.get(kind) ?? 0) + 1);
  }

  begin(action: ObservedAction): Operation | undefined {
    try {
      return this.#begin(action);
    } catch (error) {
      return this.#fault(action, error);
    }
  }

  /** Writes a record that is not about an action of the application: start, summary, policy. */
  write(record: Omit<AuditRecord, "recordId" | "parent" | "startMicros" | "endMicros" | "name">): void {
    const now = nowMicros();
    const times = { startMicros: now, endMicros: now };
    this.#append({ ...record, ...times, name: undefined, parent: undefined, recordId: newRecordId(now) });
  }

  /** Records that were written and are gone. */
  lose(records: number): void {
    this.#lost += records;
  }

  /** Hands out the counts and starts them again. */
  takeCounts(): Counts {
    if (this.#unattributed > 0) this.#ignored.set(UNATTRIBUTED_RULE, this.#unattributed);
    const counts = { recorded: this.#recorded, ignored: this.#ignored, lost: this.#lost };
    this.#recorded = new Map();
    this.#ignored = new Map();
    this.#unattributed = 0;
    this.#lost = 0;
    return counts;
  }

  /** Whether anything happened since the counts were taken. */
  get hasCounts(): boolean {
    return this.#recorded.size > 0 || this.#ignored.size > 0 || this.#unattributed > 0 || this.#lost > 0;
  }

  #begin(action: ObservedAction): Operation | undefined {
    const scope = currentScope();
    if (scope.quiet) return undefined;
    if (scope.actor === undefined && this.#ignoresNobody) {
      this.#unattributed++;
      return undefined;
    }
    const verdict = this.#judge(action, scope);
    if (verdict.ruleId === DEFAULT_RULE || verdict.ruleId === UNATTRIBUTED_RULE) {
      // What a rule of the policy speaks about is recorded; only what none does can be ignored.
      const kind = this.#options.defaults.ignoredAs(action);
      if (kind !== undefined) {
        this.count(kind);
        return undefined;
      }
    }
    const stopped = verdict.enforcement === "enforced" && verdict.decision !== "allow";
    const operation = new RecordedOperation(this, action, scope, verdict, activeSpan());
    if (stopped) operation.deny();
    else if (this.#spoolIsDown()) operation.deny(this.#spoolVerdict(action));
    return operation;
  }

  #judge(action: ObservedAction, { actor, cause }: Scope): Verdict {
    const { policy, mode, unattributed, unattributedMode = mode } = this.#options;
    if (actor === undefined && unattributed === "deny") {
      const reason = "no agent in context, and OTEL_AUDIT_UNATTRIBUTED is deny";
      return verdictOf(policy, action.action, UNATTRIBUTED_RULE, reason, unattributedMode);
    }
    return policy.evaluate({
      event: action.event,
      action: action.action,
      targets: action.targets,
      actorId: actor?.id ?? "",
      actorType: actor?.type ?? "service",
      actorChain: actor?.chain,
      onBehalfOf: actor?.onBehalfOf,
      workflow: actor?.workflowName,
      tool: action.tool?.name ?? cause?.tool?.name,
    });
  }

  /** In enforce mode an action that could not be recorded does not run. */
  #spoolIsDown(): boolean {
    if (this.#options.mode !== "enforce" || this.#spoolFailedAt === Number.NEGATIVE_INFINITY) return false;
    if (performance.now() - this.#spoolFailedAt < SPOOL_PAUSE_MS) return true;
    try {
      // Not by an action whose record might be lost again.
      quietly(() => this.#options.sink.check());
      return false;
    } catch {
      this.#spoolFailedAt = performance.now();
      return true;
    }
  }

  #spoolVerdict(action: ObservedAction): Verdict {
    return verdictOf(this.#options.policy, action.action, SPOOL_RULE, "the record could not be written", "enforce");
  }

  /** Our own fault: the action goes on in observe mode and is denied in enforce mode. */
  #fault(action: ObservedAction, error: unknown): Operation | undefined {
    const reason = `the audit failed: ${error instanceof Error ? error.message : String(error)}`;
    if (this.#faults++ === 0) this.#options.onTrouble(reason);
    this.#lost++;
    if (this.#options.mode !== "enforce") return undefined;
    const recordId = newRecordId(nowMicros());
    const target = action.targets[0]?.id ?? "";
    const denied = new AuditPolicyDeniedError({ rule: "policy_error", reason, recordId, event: action.event, target });
    return { denied, decided: undefined, recordId, end: () => {} };
  }

  /** For operations. */
  finish(record: AuditRecord): void {
    this.#append(record);
  }

  #append(record: AuditRecord): void {
    try {
      const bytes = this.#encoder.encode(record);
      quietly(() => this.#options.sink.append(bytes));
      this.#recorded.set(record.event, (this.#recorded.get(record.event) ?? 0) + 1);
      this.#spoolFailedAt = Number.NEGATIVE_INFINITY;
    } catch (error) {
      this.#lost++;
      const first = this.#spoolFailedAt === Number.NEGATIVE_INFINITY;
      this.#spoolFailedAt = performance.now();
      if (first)
        this.#options.onTrouble(`a record was lost: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}

class RecordedOperation implements Operation {
  denied: AuditPolicyDeniedError | undefined;
  readonly decided = undefined;
  readonly recordId: string;
  readonly #core: Core;
  readonly #action: ObservedAction;
  readonly #scope: Scope;
  readonly #verdict: Verdict;
  readonly #parent: ActiveSpan | undefined;
  readonly #startMicros: number;
  #ended = false;

  constructor(core: Core, action: ObservedAction, scope: Scope, verdict: Verdict, parent: ActiveSpan | undefined) {
    this.#core = core;
    this.#action = action;
    this.#scope = scope;
    this.#verdict = verdict;
    this.#parent = parent;
    this.#startMicros = nowMicros();
    this.recordId = newRecordId(this.#startMicros);
  }

  /** Writes the record of an action that does not run. */
  deny(verdict: Verdict = this.#verdict): void {
    this.denied = new AuditPolicyDeniedError({
      rule: verdict.ruleId,
      reason: verdict.reason,
      recordId: this.recordId,
      event: this.#action.event,
      target: this.#action.targets[0]?.id ?? "",
    });
    this.#finish("failure", "policy_denied", undefined, verdict);
  }

  end(error?: unknown, attributes?: Attributes): void {
    if (error === undefined || error === null) this.#finish("success", undefined, attributes, this.#verdict);
    else this.#finish("failure", errorType(error), attributes, this.#verdict);
  }

  #finish(
    outcome: AuditOutcome,
    errorType: string | undefined,
    attributes: Attributes | undefined,
    verdict: Verdict,
  ): void {
    if (this.#ended) return;
    this.#ended = true;
    const action = this.#action;
    this.#core.finish({
      recordId: this.recordId,
      event: action.event,
      name: action.name,
      action: verdict.action,
      outcome,
      errorType,
      actor: this.#scope.actor,
      cause: this.#scope.cause?.recordId,
      tool: action.tool ?? this.#scope.cause?.tool,
      side: action.side,
      targets: action.targets,
      verdict,
      attributes: merge(action.attributes, attributes),
      parent: this.#parent,
      startMicros: this.#startMicros,
      endMicros: nowMicros(),
    });
  }
}

function merge(first: Attributes | undefined, second: Attributes | undefined): Attributes | undefined {
  if (first === undefined || second === undefined) return first ?? second;
  return { ...first, ...second };
}

function verdictOf(
  policy: PolicyEvaluator,
  action: AuditAction,
  ruleId: string,
  reason: string,
  mode: PolicyMode,
): Verdict {
  const enforcement = mode === "enforce" ? "enforced" : "observed";
  return { decision: "deny", enforcement, policyId: policy.id, policyVersion: policy.version, ruleId, reason, action };
}

/** `error.type`: an error's code, else its name; never the code of a DOMException. Never throws, whatever was thrown at the application. */
function errorType(error: unknown): string {
  if (typeof error === "string" && error !== "") return error;
  if (typeof error !== "object" || error === null) return "_OTHER";
  try {
    const code = property(error, "code");
    const name = property(error, "name");
    // A DOMException's code is a number of a list that was closed long ago: 20 for AbortError, 0 for new ones.
    if (error instanceof DOMException) return error.name;
    if (typeof code === "string" && code !== "") return code;
    // Databases and gRPC number their errors from 1.
    if (typeof code === "number" && Number.isSafeInteger(code) && code > 0) return String(code);
    return typeof name === "string" && name !== "" ? name : "_OTHER";
  } catch {
    return "_OTHER";
  }
}
