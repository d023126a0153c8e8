import {
  AUDIT_ACTIONS_BY_DANGER,
  AUDIT_TARGET_TYPE_VALUES,
  type AuditAction,
  type AuditActorType,
  type AuditPolicyDecision,
  type AuditPolicyEnforcement,
  type AuditTargetType,
} from "@otel-audit/semantic-conventions";
import { ACTOR_TYPES } from "./model.ts";
import { either, flag, listOf, mapOf, mapping, oneOf, optional, text } from "./shape.ts";
import type { PolicyMode } from "./types.ts";

// The shape of the documents only: what the words in them mean is checked where they are compiled.

/** What a policy is made of. */
export interface PolicyShape {
  readonly policy: string;
  readonly mode: PolicyMode;
  readonly default: AuditPolicyDecision;
  readonly resources?: Readonly<Record<string, ResourceShape>> | undefined;
  readonly rules?: readonly RuleShape[] | undefined;
}

export interface RuleShape {
  readonly id: string;
  readonly mode?: PolicyMode | undefined;
  readonly reason?: string | undefined;
  readonly durable?: boolean | undefined;
  readonly allow?: MatchShape | undefined;
  readonly deny?: MatchShape | undefined;
  readonly review?: MatchShape | undefined;
}

export interface MatchShape {
  readonly agent?: TermShape | undefined;
  readonly actor_type?: TermShape | undefined;
  readonly actor_chain?: TermShape | undefined;
  readonly on_behalf_of?: TermShape | undefined;
  readonly workflow?: TermShape | undefined;
  readonly tool?: TermShape | undefined;
  readonly event?: TermShape | undefined;
  readonly action?: TermShape | undefined;
  readonly resource?: TermShape | undefined;
}

type Texts = string | readonly string[];
export type TermShape = Texts | { readonly not: Texts };

export interface ResourceShape {
  readonly http?: Texts | undefined;
  readonly db?: Texts | undefined;
  readonly file?: Texts | undefined;
  readonly tool?: Texts | undefined;
  readonly process?: Texts | undefined;
  readonly socket?: Texts | undefined;
  readonly action?: AuditAction | undefined;
}

const MODE = oneOf(["observe", "enforce"] satisfies PolicyMode[]);
const DECISION = oneOf(["allow", "deny", "review"] satisfies AuditPolicyDecision[]);
const ACTION = oneOf(AUDIT_ACTIONS_BY_DANGER);
const TEXTS = listOf(text(), "the list must not be empty");

const NEGATED = mapping<{ readonly not: Texts }>({
  not: either("has to be a text or a list of texts", text(), TEXTS),
});
const TERM = optional(either("has to be a text, a list of texts, or { not: … }", text(), TEXTS, NEGATED));
const PATTERNS = optional(either("has to be a pattern or a list of patterns", text(), TEXTS));

const MATCH = mapping<MatchShape>({
  agent: TERM,
  actor_type: TERM,
  actor_chain: TERM,
  on_behalf_of: TERM,
  workflow: TERM,
  tool: TERM,
  event: TERM,
  action: TERM,
  resource: TERM,
});

const RULE = mapping<RuleShape>({
  id: text(),
  mode: optional(MODE),
  reason: optional(text(500)),
  durable: optional(flag()),
  allow: optional(MATCH),
  deny: optional(MATCH),
  review: optional(MATCH),
});

const RESOURCE = mapping<ResourceShape>({
  http: PATTERNS,
  db: PATTERNS,
  file: PATTERNS,
  tool: PATTERNS,
  process: PATTERNS,
  socket: PATTERNS,
  action: optional(ACTION),
});

export const POLICY = mapping<PolicyShape>({
  policy: text(),
  mode: MODE,
  default: DECISION,
  resources: optional(mapOf(RESOURCE)),
  rules: optional(listOf(RULE)),
});

/** What a file of test cases is made of. */
interface TestsShape {
  readonly policy?: string | undefined;
  readonly mode?: PolicyMode | undefined;
  readonly cases: readonly CaseShape[];
}

export interface CaseShape {
  readonly name: string;
  readonly agent?: string | undefined;
  readonly actor_type?: AuditActorType | undefined;
  readonly actor_chain?: readonly string[] | undefined;
  readonly on_behalf_of?: string | undefined;
  readonly workflow?: string | undefined;
  readonly tool?: string | undefined;
  readonly event: string;
  readonly action: AuditAction;
  readonly target?: TargetShape | undefined;
  readonly targets?: readonly TargetShape[] | undefined;
  readonly expect: AuditPolicyDecision;
  readonly rule?: string | undefined;
  readonly enforcement?: AuditPolicyEnforcement | undefined;
  readonly resource?: string | undefined;
}

interface TargetObject {
  readonly type?: AuditTargetType | undefined;
  readonly id: string;
  readonly access?: "read" | "write" | undefined;
}
type TargetShape = string | TargetObject;

const TARGET = either(
  "has to be a target's id, or { type, id, access }",
  text(),
  mapping<TargetObject>({
    type: optional(oneOf(AUDIT_TARGET_TYPE_VALUES)),
    id: text(),
    access: optional(oneOf(["read", "write"])),
  }),
);

const CASE = mapping<CaseShape>({
  name: text(),
  agent: optional(text()),
  actor_type: optional(oneOf(ACTOR_TYPES)),
  actor_chain: optional(listOf(text())),
  on_behalf_of: optional(text()),
  workflow: optional(text()),
  tool: optional(text()),
  event: text(),
  action: ACTION,
  target: optional(TARGET),
  targets: optional(listOf(TARGET)),
  expect: DECISION,
  rule: optional(text()),
  enforcement: optional(oneOf(["enforced", "observed"])),
  resource: optional(text()),
});

export const TESTS = mapping<TestsShape>({
  policy: optional(text()),
  mode: optional(MODE),
  cases: listOf(CASE, "has no case"),
});
