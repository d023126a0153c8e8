import type { AttributeValue } from "@otel-audit/otlp";
import type { AuditAction, AuditTargetType } from "@otel-audit/semantic-conventions";

import type { AuditPolicyDeniedError } from "./errors.ts";
import type { Memo } from "./memo.ts";
import type { Tool } from "./identity/scope.ts";
import type { AnyFunction } from "./unknown.ts";

/** One thing an action touches. */
export interface Target {
  readonly type: AuditTargetType;
  /** Canonical URI without credentials and query: `https://host/path`, `file:///abs/path`, `postgresql://host/db/schema.table`. */
  readonly id: string;
  /** Which side of the action it is on. Fills `audit.target.read_ids` and `.write_ids` when an action has several targets. */
  readonly access?: "read" | "write";
  /** A directory with everything in it: `rm -r`, a recursive copy. */
  readonly recursive?: boolean;
}

/** What a driver saw: an effect that is about to happen. */
export interface ObservedAction {
  /** `audit.event.name`, one of the EVENT_ constants. */
  readonly event: string;
  /** The span's name; the event's by default. */
  readonly name?: string;
  readonly action: AuditAction;
  /** At least one; the first is the main one. */
  readonly targets: readonly Target[];
  /** Further attributes of the record. Never secrets: no query strings, headers, bodies, SQL text or parameters. */
  readonly attributes?: Readonly<Record<string, AttributeValue>>;
  /** Of a tool call: the tool. Of everything else it is that of the tool call it is part of, which drivers do not know. */
  readonly tool?: Tool;
  /** On which side of a call between programs this is. Default: the span kind that the conventions give the event. */
  readonly side?: "server";
  /** A module's source is read: only recorded where a rule denies or reviews a resource that it belongs to, or of secrets. */
  readonly loading?: boolean;
  /** So many bytes of attributes its end mostly has: room for them is kept in the intent. At most 100. */
  readonly endRoom?: number;
  /** For an object that is handed out for many calls: what the core keeps with it. */
  readonly memo?: Memo;
}

/** One recorded action between its verdict and its outcome. */
export interface Operation {
  /**
   * Set when the policy stops the action: the driver must not run it and hands this error to the caller through the
   * API's own channel (throw, rejection, callback, `error` event). The record is already written; `end` does nothing.
   */
  readonly denied: AuditPolicyDeniedError | undefined;
  /**
   * Set when an approver is being asked (only for a driver that said it can wait): the driver waits for it, and looks at
   * `denied` then. Never rejects.
   */
  readonly decided: Promise<void> | undefined;
  /** `audit.record.id`, to be named as the cause of what this action leads to. */
  readonly recordId: string;
  /**
   * Writes the record. Only the first call counts.
   * @param error undefined: success. An Error: failure, `error.type` is its `code`, else its `name`. A string: failure,
   *   and the string is the `error.type` (an HTTP status, for example).
   * @param attributes added to those of the action.
   */
  end(error?: unknown, attributes?: Readonly<Record<string, AttributeValue>>): void;
}

/** What `begin` hands over to; connected while the audit runs. */
export interface AuditCore {
  begin(action: ObservedAction, canWait: boolean): Operation | undefined;
  /** False when nobody is to be recorded in the current context: drivers may then skip describing the action. */
  observes(): boolean;
  /** An action that is never recorded but counted in `process.summary`, by kind (`stat`, …). */
  count(kind: string): void;
}

let core: AuditCore | undefined;
/** How many `quietly` calls are on the stack. */
let depth = 0;

/** Connects the running audit, or disconnects it: drivers then pass everything through. */
export function connect(next: AuditCore | undefined): void {
  core = next;
}

/**
 * Whether an action begun now could be recorded. A driver asks before it describes the action, so that an action
 * of nobody, or inside a recorded one, costs next to nothing.
 */
export function observes(): boolean {
  return core !== undefined && depth === 0 && core.observes();
}

/**
 * Judges an action that is about to run and opens its record.
 *
 * Throws nothing but the RangeError of an exhausted stack, which a driver must let through: the action does not run then.
 * Undefined means: not to be recorded (nested inside a recorded action, our own traffic, ignored by
 * default, nobody's action with OTEL_AUDIT_UNATTRIBUTED=ignore); the driver runs the original and does nothing more.
 *
 * @param canWait the driver can hold the action back until an approver has answered (`Operation.decided`). Where the
 *   API is synchronous it cannot: a review in enforce mode is then a deny.
 */
export function begin(action: ObservedAction, canWait = false): Operation | undefined {
  return core === undefined || depth > 0 ? undefined : core.begin(action, canWait);
}

/** Counts something that is not recorded; see AuditCore.count. */
export function count(kind: string): void {
  if (core !== undefined && depth === 0) core.count(kind);
}

/**
 * Runs `fn` so that what it calls synchronously is not recorded: one action, one record. For calls that go on
 * asynchronously there is `quietlyAsync` in identity.ts.
 */
export function quietly<T>(fn: () => T): T {
  depth++;
  try {
    return fn();
  } finally {
    depth--;
  }
}

/** Whether this is the inside of a recorded call, or our own work, by `quietly`. */
export function isInside(): boolean {
  return depth > 0;
}

/** `quietly(() => fn.apply(self, args))` without the closure. */
export function quietlyApply(fn: AnyFunction, self: unknown, args: ArrayLike<unknown>): unknown {
  depth++;
  try {
    return Reflect.apply(fn, self, args);
  } finally {
    depth--;
  }
}

/** Runs a callback of the application that a recorded call invokes synchronously: what it does is its own action. */
export function aloud<T>(fn: () => T): T {
  const before = depth;
  depth = 0;
  try {
    return fn();
  } finally {
    depth = before;
  }
}
