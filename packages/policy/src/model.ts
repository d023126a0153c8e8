import type { AuditAction, AuditActorType, AuditPolicyDecision } from "@otel-audit/semantic-conventions";
import type { NamePattern, ResourcePattern } from "./pattern.ts";
import type { PolicyMode } from "./types.ts";

// What a document is compiled to.

/** A field that holds an identity or a name. */
export interface NameTerm {
  readonly isNegated: boolean;
  /** `none` is among the alternatives: the value is absent. */
  readonly hasNone: boolean;
  readonly patterns: readonly NamePattern[];
}

/** The `resource` field: rows of {@link CompiledPolicy.resources}, then of the built-ins. */
export interface ResourceTerm {
  readonly isNegated: boolean;
  /** `none` is among the alternatives: the target belongs to no resource. */
  readonly hasNone: boolean;
  readonly indexes: readonly number[];
  /** The indexes as bits. */
  readonly mask: Uint32Array;
}

/** Absent fields match everything. */
export interface Match {
  readonly agent: NameTerm | undefined;
  readonly actorChain: NameTerm | undefined;
  readonly onBehalfOf: NameTerm | undefined;
  readonly workflow: NameTerm | undefined;
  readonly tool: NameTerm | undefined;
  readonly event: NameTerm | undefined;
  /** Bits of the rows of {@link ACTOR_TYPES}. */
  readonly actorTypes: number;
  /** Bits by danger: READ is the lowest. */
  readonly actions: number;
  readonly resource: ResourceTerm | undefined;
}

export interface CompiledRule {
  readonly id: string;
  readonly decision: AuditPolicyDecision;
  /** Its own mode, else the document's. */
  readonly isEnforced: boolean;
  readonly reason: string;
  /** Marked so: the records that it decides have to survive a loss of power. */
  readonly isDurable: boolean;
  readonly match: Match;
  /** Row in the document. */
  readonly index: number;
}

export interface CompiledResource {
  readonly name: string;
  readonly patterns: readonly ResourcePattern[];
  readonly action: AuditAction | undefined;
}

export interface CompiledPolicy {
  readonly id: string;
  readonly version: string;
  readonly mode: PolicyMode;
  readonly defaultDecision: AuditPolicyDecision;
  readonly resources: readonly CompiledResource[];
  readonly rules: readonly CompiledRule[];
}

export const ACTOR_TYPES: readonly AuditActorType[] = ["agent", "user", "service", "system"];
