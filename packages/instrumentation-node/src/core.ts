import type { PolicyEvaluator, PolicyMode, Verdict } from "@otel-audit/policy";
import {
  ATTR_AUDIT_REVIEW_DECISION,
  ATTR_AUDIT_REVIEW_ID,
  type AuditAction,
  EVENT_AUDIT_BYPASS,
} from "@otel-audit/semantic-conventions";

import type { AuditCore, ObservedAction, Operation, Target } from "./audit.ts";
import { nowMicros } from "./clock.ts";
import type { SpoolFull, Unattributed } from "./config.ts";
import { type Defaults, holdsSecrets } from "./defaults.ts";
import { AuditPolicyDeniedError, SpoolFullError } from "./errors.ts";
import { currentScope, isQuiet, mayRecord, type Scope } from "./identity.ts";
import { newRecordId } from "./ids.ts";
import { BegunOperation, type Finish, POLICY_DENIED } from "./operation.ts";
import { OWN_FILES_RULE, type OwnFiles } from "./own-files.ts";
import { type Begun, type Ended, RecordEncoder } from "./record-encoder.ts";
import type { Review, ReviewDesk } from "./review-desk.ts";
import type { Sink } from "./sink.ts";
import type { ReviewResult } from "./reviews.ts";
import { activeSpan } from "./trace-context.ts";
import { monotonicMs } from "./pristine.ts";

/** What the core needs to know. */
interface CoreOptions {
  readonly policy: PolicyEvaluator;
  readonly mode: PolicyMode;
  readonly unattributed: Unattributed;
  /** The mode of the deny of what nobody did. Default: `mode`. */
  readonly unattributedMode?: PolicyMode;
  readonly defaults: Defaults;
  /** What becomes of an action that a full spool has no room for. Default deny. */
  readonly whenFull?: SpoolFull;
  readonly sink: Sink;
  /** What is stopped whatever the policy says: access to the audit's own files. */
  readonly ownFiles?: OwnFiles;
  /** Hears of what was stopped for that. */
  readonly onOwnFile?: (target: Target, event: string, recordId: string) => void;
  /** Where reviews are decided. Without it a review is a deny. */
  readonly reviewDesk?: () => ReviewDesk;
  /** Hears of records that could not be written and of faults of our own. */
  readonly onTrouble: (message: string) => void;
}

/** What was recorded, ignored and lost since the last summary. */
interface Counts {
  readonly recorded: ReadonlyMap<string, number>;
  readonly ignored: ReadonlyMap<string, number>;
  readonly lost: number;
}

/** Rule id of the deny of what nobody did, with OTEL_AUDIT_UNATTRIBUTED=deny. */
const UNATTRIBUTED_RULE = "unattributed";
/** Rule id of the deny of what could not be recorded. */
const SPOOL_RULE = "spool_error";
const DEFAULT_RULE = "default";
/** How long an action waits for room in a full spool with OTEL_AUDIT_SPOOL_FULL=block, in milliseconds. */
const BLOCK_MS = 30_000;

/** A record about the audit itself. */
type ControlRecord = Pick<Begun, "event" | "action" | "actor" | "cause" | "targets" | "verdict" | "attributes"> &
  Pick<Ended, "outcome" | "errorType">;

/** It gets its number when it is written. */
type Unnumbered = Omit<Begun, "sequence"> & { sequence: number };

/** Identity, verdict, record: what happens around every action. */
export class Core implements AuditCore {
  readonly #options: CoreOptions;
  readonly #encoder = new RecordEncoder();
  readonly #ignoresNobody: boolean;
  #policy: PolicyEvaluator;
  #mode: PolicyMode;
  #unattributedMode: PolicyMode;
  #recorded = new Map<string, number>();
  #ignored = new Map<string, number>();
  #unattributed = 0;
  #lost = 0;
  /** Trouble with the spool is told once, until it works again. */
  #spoolFailed = false;
  #faults = 0;

  constructor(options: CoreOptions) {
    this.#options = options;
    this.#ignoresNobody = options.unattributed === "ignore";
    this.#policy = options.policy;
    this.#mode = options.mode;
    this.#unattributedMode = options.unattributedMode ?? options.mode;
  }

  /** Judges by another policy from now on; what has begun keeps its verdict. */
  use(policy: PolicyEvaluator, mode: PolicyMode, unattributedMode: PolicyMode = mode): void {
    this.#policy = policy;
    this.#mode = mode;
    this.#unattributedMode = unattributedMode;
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

  begin(action: ObservedAction, canWait: boolean): Operation | undefined {
    try {
      return this.#begin(action, canWait);
    } catch (error) {
      return this.#fault(action, error);
    }
  }

  /** Writes a record that is not about an action of the application: start, summary, policy. False: it was lost. */
  write(record: ControlRecord, durable = false): boolean {
    const now = nowMicros();
    const { outcome, errorType, ...rest } = record;
    const begun = {
      ...rest,
      sequence: 0,
      startMicros: now,
      name: undefined,
      parent: undefined,
      recordId: newRecordId(now),
    };
    return this.#write(begun, { outcome, errorType, attributes: undefined }, now, durable);
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

  #begin(action: ObservedAction, canWait: boolean): Operation | undefined {
    const scope = currentScope();
    if (scope.quiet) return undefined;
    if (scope.actor === undefined && this.#ignoresNobody) {
      this.#unattributed++;
      return undefined;
    }
    const own = this.#options.ownFiles?.touchedBy(action);
    const verdict =
      own === undefined ? spare(action, this.#judge(action, scope)) : this.#ownFileVerdict(action.action, own);
    if (own === undefined && action.loading === true && !concernsModules(verdict, action)) {
      this.count("module_loading");
      return undefined;
    }
    if (verdict.ruleId === DEFAULT_RULE || verdict.ruleId === UNATTRIBUTED_RULE) {
      // What a rule of the policy speaks about is recorded; only what none does can be ignored.
      const kind = this.#options.defaults.ignoredAs(action);
      if (kind !== undefined) {
        this.count(kind);
        return undefined;
      }
    }
    const startMicros = nowMicros();
    const begun: Unnumbered = {
      sequence: 0,
      recordId: newRecordId(startMicros),
      event: action.event,
      name: action.name,
      action: verdict.action,
      actor: scope.actor,
      cause: scope.cause?.recordId,
      tool: action.tool ?? scope.cause?.tool,
      side: action.side,
      targets: action.targets,
      verdict,
      attributes: action.attributes,
      endRoom: action.endRoom,
      memo: action.memo,
      parent: activeSpan(),
      startMicros,
    };
    if (own !== undefined) {
      const stopped = this.#stop(begun);
      this.#options.onOwnFile?.(own, action.event, begun.recordId);
      return stopped;
    }
    if (verdict.enforcement !== "enforced" || verdict.decision === "allow") return this.#start(begun, canWait);
    return verdict.decision === "review" ? this.#review(begun, canWait) : this.#stop(begun);
  }

  /** Holds an action back until somebody has decided; where that cannot be, it is stopped. */
  #review(begun: Unnumbered, canWait: boolean): Operation {
    const review = canWait
      ? (this.#options.reviewDesk?.().open(begun) ?? "no approver is configured")
      : "a synchronous call cannot wait";
    if (typeof review === "string") return this.#stop(because(begun, `not reviewed: ${review}`));
    const attributes = { ...begun.attributes, [ATTR_AUDIT_REVIEW_ID]: review.id };
    // Not what other calls on the target have in common.
    const operation = this.#start({ ...begun, attributes, memo: undefined }, false);
    if (operation instanceof BegunOperation) operation.decided = this.#decide(begun, review, operation);
    return operation;
  }

  async #decide(begun: Unnumbered, review: Review, operation: BegunOperation): Promise<void> {
    const { decision, by = "nobody", reason } = await review.ask().catch((error: unknown) => this.#unreviewed(error));
    if (decision === "approved") return;
    const why = `denied by ${by}${reason === undefined ? "" : `: ${reason}`}`;
    operation.deny(this.#error(because(begun, why)), { [ATTR_AUDIT_REVIEW_DECISION]: decision });
  }

  /** A fault of our own is nobody's approval. */
  #unreviewed(error: unknown): ReviewResult {
    const reason = `the audit failed: ${error instanceof Error ? error.message : String(error)}`;
    if (this.#faults++ === 0) this.#options.onTrouble(reason);
    return { decision: "rejected", by: undefined, reason };
  }

  /** The intent is on its way to the disk before the action runs; one that cannot be recorded does not run. */
  #start(begun: Unnumbered, canWait: boolean): Operation {
    const operation = new BegunOperation(begun, this.#finish);
    try {
      this.#writeIntent(begun, operation);
    } catch (error) {
      if (canWait && this.#options.whenFull === "block" && error instanceof SpoolFullError) {
        operation.decided = this.#startOnceThereIsRoom(begun, operation);
      } else operation.refuse(this.#unrecorded(begun, error));
    }
    return operation;
  }

  #writeIntent(begun: Unnumbered, operation: BegunOperation): void {
    const { sink } = this.#options;
    const encoder = this.#encoder;
    begun.sequence = sink.nextSequence;
    encoder.intent(begun);
    const { durable, decision } = begun.verdict;
    sink.begin(operation, encoder.bytes, encoder.length, encoder.headLength, durable ?? decision !== "allow");
    this.#spoolFailed = false;
  }

  async #startOnceThereIsRoom(begun: Unnumbered, operation: BegunOperation): Promise<void> {
    const deadline = monotonicMs() + BLOCK_MS;
    for (;;) {
      await this.#options.sink.room(deadline - monotonicMs());
      try {
        this.#writeIntent(begun, operation);
        return;
      } catch (error) {
        if (error instanceof SpoolFullError && monotonicMs() < deadline) continue;
        operation.refuse(this.#unrecorded(begun, error));
        return;
      }
    }
  }

  #unrecorded(begun: Unnumbered, error: unknown): AuditPolicyDeniedError {
    this.#lost++;
    this.#trouble(error);
    return this.#error({ ...begun, verdict: this.#spoolVerdict(begun.action) });
  }

  /** Records an action that does not run. */
  #stop(begun: Unnumbered): Operation {
    const end = { outcome: "failure", errorType: POLICY_DENIED, attributes: undefined } as const;
    this.#write(begun, end, begun.startMicros, true);
    return this.#denial(begun);
  }

  #denial(begun: Unnumbered): Operation {
    return { denied: this.#error(begun), decided: undefined, recordId: begun.recordId, end: () => {} };
  }

  #error({ recordId, event, targets, verdict }: Unnumbered): AuditPolicyDeniedError {
    const { ruleId: rule, reason } = verdict;
    return new AuditPolicyDeniedError({ rule, reason, recordId, event, target: targets[0]?.id ?? "" });
  }

  #judge(action: ObservedAction, { actor, cause }: Scope): Verdict {
    const policy = this.#policy;
    if (actor === undefined && this.#options.unattributed === "deny") {
      const reason = "no agent in context, and OTEL_AUDIT_UNATTRIBUTED is deny";
      return verdictOf(policy, action.action, UNATTRIBUTED_RULE, reason, this.#unattributedMode);
    }
    const { memo } = action;
    const tool = action.tool?.name ?? cause?.tool?.name;
    if (memo?.policy === policy && memo.actor === actor && memo.tool === tool && memo.verdict !== undefined) {
      return memo.verdict;
    }
    const verdict = policy.evaluate({
      event: action.event,
      action: action.action,
      targets: action.targets,
      actorId: actor?.id ?? "",
      actorType: actor?.type ?? "service",
      actorChain: actor?.chain,
      onBehalfOf: actor?.onBehalfOf,
      workflow: actor?.workflowName,
      tool,
    });
    if (memo !== undefined) Object.assign(memo, { policy, actor, tool, verdict });
    return verdict;
  }

  /** Stopped in both modes: what is denied is ours, and no application has business with it. */
  #ownFileVerdict(action: AuditAction, { id }: Target): Verdict {
    return verdictOf(this.#policy, action, OWN_FILES_RULE, `${id} belongs to the audit`, "enforce");
  }

  #spoolVerdict(action: AuditAction): Verdict {
    return verdictOf(this.#policy, action, SPOOL_RULE, "the record could not be written", "enforce");
  }

  /** Our own fault: the action goes on in observe mode and is denied in enforce mode. */
  #fault(action: ObservedAction, error: unknown): Operation | undefined {
    const reason = `the audit failed: ${error instanceof Error ? error.message : String(error)}`;
    if (this.#faults++ === 0) this.#options.onTrouble(reason);
    this.#lost++;
    if (this.#mode !== "enforce") return undefined;
    const recordId = newRecordId(nowMicros());
    const target = action.targets[0]?.id ?? "";
    const denied = new AuditPolicyDeniedError({ rule: "policy_error", reason, recordId, event: action.event, target });
    return { denied, decided: undefined, recordId, end: () => {} };
  }

  readonly #finish: Finish = (operation, end) => {
    const { sink } = this.#options;
    const { begun } = operation;
    const endMicros = nowMicros();
    if (operation.epoch !== sink.epoch) {
      // Who found our place deserted has sent the intent as it was: this record stands beside it and says so (rule O6).
      const recordId = newRecordId(endMicros);
      this.#write({ ...begun, recordId, supersedes: begun.recordId }, end, endMicros, false);
      return;
    }
    try {
      this.#encoder.tail(begun, end, endMicros);
      sink.end(operation, this.#encoder.bytes, this.#encoder.length, end.errorType === POLICY_DENIED);
      this.#countRecord(begun.event);
    } catch (error) {
      // Not lost: the intent stands, and goes out as a record whose outcome is unknown.
      this.#trouble(error);
    }
  };

  #write(begun: Unnumbered, end: Ended, endMicros: number, durable: boolean): boolean {
    const { sink } = this.#options;
    try {
      begun.sequence = sink.nextSequence;
      this.#encoder.whole(begun, end, endMicros);
      sink.write(this.#encoder.bytes, this.#encoder.length, durable);
      this.#countRecord(begun.event);
      this.#spoolFailed = false;
      return true;
    } catch (error) {
      this.#lost++;
      this.#trouble(error);
      return false;
    }
  }

  #countRecord(event: string): void {
    this.#recorded.set(event, (this.#recorded.get(event) ?? 0) + 1);
  }

  #trouble(error: unknown): void {
    if (this.#spoolFailed) return;
    this.#spoolFailed = true;
    const reason = error instanceof Error ? error.message : String(error);
    this.#options.onTrouble(`a record could not be written: ${reason}`);
  }
}

/** Loading its own code is nothing that an agent does, unless a rule speaks about the very file, or it holds secrets. */
function concernsModules({ decision, ruleId, targetName }: Verdict, { targets }: ObservedAction): boolean {
  const isRuled = decision !== "allow" && ruleId !== DEFAULT_RULE && ruleId !== UNATTRIBUTED_RULE;
  return (isRuled && targetName !== undefined) || targets.some(({ id }) => holdsSecrets(id));
}

/**
 * The policy's default is for the actions of the application. What is noticed of a way around the audit is mostly how a
 * library is made: only a rule that speaks about it stops it.
 */
function spare(action: ObservedAction, verdict: Verdict): Verdict {
  const isGeneral = verdict.ruleId === DEFAULT_RULE || verdict.ruleId === UNATTRIBUTED_RULE;
  if (action.event !== EVENT_AUDIT_BYPASS || !isGeneral) return verdict;
  return { ...verdict, decision: "allow", reason: "no rule of the policy speaks about it" };
}

/** The same with more of a reason. */
function because(begun: Unnumbered, why: string): Unnumbered {
  const { verdict } = begun;
  return { ...begun, verdict: { ...verdict, reason: `${verdict.reason} (${why})` } };
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
