import { AUDIT_ACTIONS_BY_DANGER, AUDIT_TARGET_TYPE_VALUES } from "@otel-audit/semantic-conventions";
import { z } from "zod";
import { ACTOR_TYPES } from "./model.ts";

// The shape of the documents only: what the words in them mean is checked where they are compiled.

const ACTIONS = z.enum(AUDIT_ACTIONS_BY_DANGER);

const texts = z.array(z.string()).min(1, "the list must not be empty");
const negated = z.strictObject({
  not: z.union([z.string(), texts], { error: "has to be a text or a list of texts" }),
});
const term = z.union([z.string(), texts, negated], { error: "has to be a text, a list of texts, or { not: … }" });

export const matchShape = z.strictObject({
  agent: term.optional(),
  actor_type: term.optional(),
  actor_chain: term.optional(),
  on_behalf_of: term.optional(),
  workflow: term.optional(),
  tool: term.optional(),
  event: term.optional(),
  action: term.optional(),
  resource: term.optional(),
});

const reason = z.string().min(1, "must not be empty").max(500, "has more than 500 characters");

const ruleShape = z.strictObject({
  id: z.string(),
  mode: z.enum(["observe", "enforce"]).optional(),
  reason: reason.optional(),
  allow: matchShape.optional(),
  deny: matchShape.optional(),
  review: matchShape.optional(),
});

const patterns = z.union([z.string(), texts], { error: "has to be a pattern or a list of patterns" });

const resourceShape = z.strictObject({
  http: patterns.optional(),
  db: patterns.optional(),
  file: patterns.optional(),
  tool: patterns.optional(),
  process: patterns.optional(),
  socket: patterns.optional(),
  action: ACTIONS.optional(),
});

export const policyShape = z.strictObject({
  policy: z.string(),
  mode: z.enum(["observe", "enforce"]),
  default: z.enum(["allow", "deny", "review"]),
  resources: z.record(z.string(), resourceShape).optional(),
  rules: z.array(ruleShape).optional(),
});

const targetShape = z.union(
  [
    z.string(),
    z.strictObject({
      type: z.enum(AUDIT_TARGET_TYPE_VALUES).optional(),
      id: z.string(),
      access: z.enum(["read", "write"]).optional(),
    }),
  ],
  { error: "has to be a target's id, or { type, id, access }" },
);

const caseShape = z.strictObject({
  name: z.string(),
  agent: z.string().optional(),
  actor_type: z.enum(ACTOR_TYPES).optional(),
  actor_chain: z.array(z.string()).optional(),
  on_behalf_of: z.string().optional(),
  workflow: z.string().optional(),
  tool: z.string().optional(),
  event: z.string(),
  action: ACTIONS,
  target: targetShape.optional(),
  targets: z.array(targetShape).optional(),
  expect: z.enum(["allow", "deny", "review"]),
  rule: z.string().optional(),
  enforcement: z.enum(["enforced", "observed"]).optional(),
  resource: z.string().optional(),
});

export const testsShape = z.strictObject({
  policy: z.string().optional(),
  mode: z.enum(["observe", "enforce"]).optional(),
  cases: z.array(caseShape).min(1, "has no case"),
});

export type MatchShape = z.infer<typeof matchShape>;
export type PolicyShape = z.infer<typeof policyShape>;
export type RuleShape = z.infer<typeof ruleShape>;
export type ResourceShape = z.infer<typeof resourceShape>;
export type TestsShape = z.infer<typeof testsShape>;
export type CaseShape = z.infer<typeof caseShape>;
export type TermShape = z.infer<typeof term>;
