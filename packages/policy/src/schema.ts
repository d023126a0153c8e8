import { AUDIT_ACTIONS_BY_DANGER, AUDIT_TARGET_TYPE_VALUES } from "@otel-audit/semantic-conventions";
import type { z as Zod } from "zod";
import { zodLibrary } from "./lazy.ts";
import { ACTOR_TYPES } from "./model.ts";

// The shape of the documents only: what the words in them mean is checked where they are compiled.

/** What a policy is made of. */
function definePolicy(z: typeof Zod) {
  const ACTIONS = z.enum(AUDIT_ACTIONS_BY_DANGER);

  const texts = z.array(z.string()).min(1, "the list must not be empty");
  const negated = z.strictObject({
    not: z.union([z.string(), texts], { error: "has to be a text or a list of texts" }),
  });
  const term = z.union([z.string(), texts, negated], { error: "has to be a text, a list of texts, or { not: … }" });

  const matchShape = z.strictObject({
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

  return z.strictObject({
    policy: z.string(),
    mode: z.enum(["observe", "enforce"]),
    default: z.enum(["allow", "deny", "review"]),
    resources: z.record(z.string(), resourceShape).optional(),
    rules: z.array(ruleShape).optional(),
  });
}

/** What a file of test cases is made of. */
function defineTests(z: typeof Zod) {
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
    action: z.enum(AUDIT_ACTIONS_BY_DANGER),
    target: targetShape.optional(),
    targets: z.array(targetShape).optional(),
    expect: z.enum(["allow", "deny", "review"]),
    rule: z.string().optional(),
    enforcement: z.enum(["enforced", "observed"]).optional(),
    resource: z.string().optional(),
  });

  return z.strictObject({
    policy: z.string().optional(),
    mode: z.enum(["observe", "enforce"]).optional(),
    cases: z.array(caseShape).min(1, "has no case"),
  });
}

let policy: ReturnType<typeof definePolicy> | undefined;
let tests: ReturnType<typeof defineTests> | undefined;

/** Made by the first call, which loads zod. */
export function policyShape(): ReturnType<typeof definePolicy> {
  return (policy ??= definePolicy(zodLibrary().z));
}

/** Made by the first call, which loads zod. */
export function testsShape(): ReturnType<typeof defineTests> {
  return (tests ??= defineTests(zodLibrary().z));
}

export type PolicyShape = Zod.infer<ReturnType<typeof definePolicy>>;
export type RuleShape = NonNullable<PolicyShape["rules"]>[number];
export type MatchShape = NonNullable<RuleShape["allow"]>;
export type TermShape = NonNullable<MatchShape["agent"]>;
export type ResourceShape = NonNullable<PolicyShape["resources"]>[string];
export type TestsShape = Zod.infer<ReturnType<typeof defineTests>>;
export type CaseShape = TestsShape["cases"][number];
