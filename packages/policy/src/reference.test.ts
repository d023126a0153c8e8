import * as fc from "fast-check";
import picomatch from "picomatch";
import { describe, expect, it } from "vitest";
import { Policy } from "./policy.ts";
import type { PolicyAction, PolicyTarget, Verdict } from "./types.ts";

// The README's rules once more, written for reading and not for speed: picomatch on every comparison, no compiling.
// Ids here have one reading; bypass.test.ts is about the others.

type Term = string | string[] | { not: string | string[] };
interface Match {
  agent?: Term;
  actor_type?: Term;
  actor_chain?: Term;
  on_behalf_of?: Term;
  workflow?: Term;
  tool?: Term;
  event?: Term;
  action?: Term;
  resource?: Term;
}
type Decision = "allow" | "deny" | "review";
interface Rule {
  id: string;
  mode?: "observe" | "enforce";
  decision: Decision;
  match: Match;
}
interface Document {
  mode: "observe" | "enforce";
  default: Decision;
  resources: Record<string, { http?: string; db?: string; file?: string }>;
  rules: Rule[];
}

function holds(term: Term | undefined, test: (item: string) => boolean): boolean {
  if (term === undefined) {
    return true;
  }
  if (typeof term === "object" && !Array.isArray(term)) {
    return !holds(term.not, test);
  }
  return [term].flat().some(test);
}

const name =
  (value: string | undefined) =>
  (item: string): boolean =>
    item === "none" ? value === undefined : value !== undefined && picomatch.isMatch(value, item, { dot: true });

const bare = (id: string): string => id.replace(/^agent:/, "");

const actor =
  (id: string, isAgent: boolean) =>
  (item: string): boolean =>
    item.startsWith("agent:")
      ? (isAgent || id.startsWith("agent:")) && name(bare(id))(bare(item))
      : name(id === "" ? undefined : bare(id))(item);

function is(pattern: string | undefined, text: string): boolean {
  return pattern !== undefined && picomatch.isMatch(text, pattern, { dot: true });
}

function isInResource(
  target: PolicyTarget | undefined,
  resource: { http?: string; db?: string; file?: string },
): boolean {
  switch (target?.type) {
    case "http.endpoint":
      return is(resource.http, target.id);
    case "database.table":
      return is(resource.db, target.id.slice("postgresql://".length));
    case "file":
      return is(resource.file, target.id.slice("file://".length));
    default:
      return false;
  }
}

function matches(document: Document, rule: Rule, action: PolicyAction): boolean {
  const { match } = rule;
  const fields =
    holds(match.agent, actor(action.actorId, action.actorType === "agent")) &&
    holds(match.actor_type, (item) => item === action.actorType) &&
    holds(match.actor_chain, (item) =>
      item === "none" ? action.actorChain === undefined : (action.actorChain ?? []).some((id) => actor(id, true)(item)),
    ) &&
    holds(match.on_behalf_of, name(action.onBehalfOf)) &&
    holds(match.workflow, name(action.workflow)) &&
    holds(match.tool, name(action.tool)) &&
    holds(match.event, name(action.event));
  const targets = action.targets.length === 0 ? [undefined] : action.targets;
  const all = Object.values(document.resources);
  const inResource = (target: PolicyTarget | undefined): boolean =>
    holds(match.resource, (item) => {
      const resource = document.resources[item];
      return item === "none"
        ? !all.some((each) => isInResource(target, each))
        : resource !== undefined && isInResource(target, resource);
    });
  const actionsOf = (target: PolicyTarget | undefined): string[] =>
    target?.access !== "read" ? [action.action] : action.action === "EXECUTE" ? ["READ", "EXECUTE"] : ["READ"];
  const isNamed = (each: string): boolean => holds(match.action, (item) => item === each);
  if (rule.decision === "allow") {
    return (
      fields &&
      targets.every((target) => inResource(target) && actionsOf(target).every(isNamed)) &&
      isNamed(action.action)
    );
  }
  const isAnyTarget = targets.some((target) => inResource(target) && actionsOf(target).some(isNamed));
  return fields && (isAnyTarget || (match.resource === undefined && isNamed(action.action)));
}

function reference(document: Document, action: PolicyAction): string {
  const isEnforced = (rule: Rule): boolean => (rule.mode ?? document.mode) === "enforce";
  const hits = document.rules
    .filter((rule) => matches(document, rule, action))
    .toSorted((a, b) => (a.id < b.id ? -1 : 1));
  const find = (decision: Decision, enforced: boolean): Rule | undefined =>
    hits.find((rule) => rule.decision === decision && isEnforced(rule) === enforced);
  const say = (rule: Rule): string => `${rule.decision} ${isEnforced(rule) ? "enforced" : "observed"} ${rule.id}`;
  const otherwise = `${document.default} ${document.mode === "enforce" ? "enforced" : "observed"} default`;
  const stop = find("deny", true) ?? find("review", true);
  if (stop !== undefined) {
    return say(stop);
  }
  if (document.mode === "enforce" && document.default !== "allow" && find("allow", true) === undefined) {
    return otherwise;
  }
  const other = find("deny", false) ?? find("review", false) ?? find("allow", true) ?? find("allow", false);
  return other === undefined ? otherwise : say(other);
}

const item = (...values: string[]): fc.Arbitrary<Term> => {
  const one = fc.constantFrom(...values);
  const list = fc.uniqueArray(one, { minLength: 1, maxLength: 3 });
  return fc.oneof(
    one,
    list,
    fc.oneof(one, list).map((not) => ({ not })),
  );
};

const RESOURCES: Document["resources"] = {
  a: { http: "https://{a,b}.x/v1/**" },
  b: { http: "https://*.x/**/items/*" },
  c: { db: "db.x/app/public.{cards,orders}" },
  d: { db: "**/public.cards" },
  e: { file: "/srv/**" },
  f: { file: "/srv/kb/*.md", http: "https://a.x/v1/items/*" },
};

const matchOf = fc.record(
  {
    agent: item("a-*", "agent:a-1", "b-?", "*", "none"),
    actor_type: item("agent", "user", "service"),
    actor_chain: item("a-*", "none"),
    on_behalf_of: item("user:*", "user:1", "none"),
    workflow: item("r*", "none"),
    tool: item("read_*", "none"),
    event: item("http.*", "db.statement", "file.read"),
    action: item("READ", "WRITE", "DELETE", "EXECUTE"),
    resource: item("a", "b", "c", "d", "e", "f", "none"),
  },
  { requiredKeys: [] },
);

/** Most matches have one or two fields, or nothing would ever match. */
const sparse = fc
  .tuple(
    matchOf,
    fc.shuffledSubarray(
      ["agent", "event", "action", "resource", "on_behalf_of", "actor_type", "workflow", "tool", "actor_chain"],
      { maxLength: 3 },
    ),
  )
  .map(([match, keys]): Match => Object.fromEntries(Object.entries(match).filter(([key]) => keys.includes(key))));

const ruleOf = fc.record(
  {
    mode: fc.constantFrom("observe" as const, "enforce" as const),
    decision: fc.constantFrom("allow" as const, "deny" as const, "review" as const),
    match: sparse,
  },
  { requiredKeys: ["decision", "match"] },
);

const documentOf: fc.Arbitrary<Document> = fc.record({
  mode: fc.constantFrom("observe", "enforce"),
  default: fc.constantFrom("allow", "deny", "review"),
  resources: fc.constant(RESOURCES),
  rules: fc.array(ruleOf, { maxLength: 6 }).map((rules) => rules.map((rule, index) => ({ ...rule, id: `r${index}` }))),
});

const targetOf: fc.Arbitrary<PolicyTarget> = fc
  .tuple(
    fc.constantFrom<[PolicyTarget["type"], string]>(
      ["http.endpoint", "https://a.x/v1/items/7"],
      ["http.endpoint", "https://c.x/items/7"],
      ["http.endpoint", "https://c.x/other"],
      ["database.table", "postgresql://db.x/app/public.cards"],
      ["database.table", "postgresql://db.x/app/public.orders"],
      ["database.table", "postgresql://other.x/app/public.cards"],
      ["file", "file:///srv/kb/intro.md"],
      ["file", "file:///srv/kb/deep/intro.md"],
      ["file", "file:///tmp/x"],
      ["tool", "read_file"],
    ),
    fc.constantFrom("read" as const, "write" as const, undefined),
  )
  .map(([[type, id], access]) => ({ type, id, access }));

const actionOf: fc.Arbitrary<PolicyAction> = fc.record({
  event: fc.constantFrom("http.request", "db.statement", "file.read"),
  action: fc.constantFrom("READ", "WRITE", "DELETE", "EXECUTE"),
  targets: fc.array(targetOf, { maxLength: 3 }),
  actorId: fc.constantFrom("a-1", "agent:a-1", "agent:b-2", "c", ""),
  actorType: fc.constantFrom("agent", "user"),
  actorChain: fc.constantFrom(undefined, ["agent:a-9"], ["x", "a-1"]),
  onBehalfOf: fc.constantFrom(undefined, "user:1", "service:2"),
  workflow: fc.constantFrom(undefined, "refund", "other"),
  tool: fc.constantFrom(undefined, "read_file", "send"),
});

function parse(document: Document): Policy {
  const rules = document.rules.map(({ decision, match, ...rest }) => ({ ...rest, [decision]: match }));
  // JSON is YAML.
  return Policy.parse(JSON.stringify({ policy: "p", ...document, rules }));
}

function verdict(document: Document, action: PolicyAction): string {
  const { decision, enforcement, ruleId } = parse(document).evaluate(action);
  return `${decision} ${enforcement} ${ruleId}`;
}

/** Whether an action is stopped, and how hard. */
function stops(text: string): boolean {
  return /^(?:deny|review) enforced/.test(text);
}

/** What callers without types can do. */
function evaluateAnything(policy: Policy, action: unknown): Verdict {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the point of the test
  return policy.evaluate(action as PolicyAction);
}

describe("the compiled policy", () => {
  it("says what the naive one says", () => {
    const seen = new Set<string>();
    fc.assert(
      fc.property(documentOf, fc.array(actionOf, { minLength: 1, maxLength: 8 }), (document, actions) => {
        const policy = parse(document);
        for (const action of actions) {
          // A document does not know of built-in resources here, and none of the targets is in one.
          const { decision, enforcement, ruleId } = policy.evaluate(action);
          expect(`${decision} ${enforcement} ${ruleId}`).toBe(reference(document, action));
          seen.add(`${decision} ${enforcement} ${ruleId === "default"}`);
        }
      }),
      { numRuns: 700 },
    );
    // Else the property would hold of nothing.
    expect(seen.size).toBe(12);
  });

  it("does not look at the order of rules", () => {
    fc.assert(
      fc.property(documentOf, actionOf, fc.integer({ min: 0, max: 5 }), (document, action, by) => {
        const rules = [...document.rules.slice(by), ...document.rules.slice(0, by)].toReversed();
        expect(verdict({ ...document, rules }, action)).toBe(verdict(document, action));
      }),
      { numRuns: 200 },
    );
  });

  it("is never opened by one more deny or review, nor by a rule that only observes", () => {
    fc.assert(
      fc.property(documentOf, ruleOf, actionOf, (document, extra, action) => {
        const rule: Rule = { ...extra, id: "extra" };
        const before = verdict(document, action);
        const after = verdict({ ...document, rules: [...document.rules, rule] }, action);
        const isTrial = (rule.mode ?? document.mode) === "observe";
        const isOpened = stops(before) && !stops(after);
        expect(isOpened && (rule.decision !== "allow" || isTrial)).toBe(false);
        expect(isTrial && stops(after) !== stops(before)).toBe(false);
      }),
      { numRuns: 300 },
    );
  });

  it("is never opened by one more target", () => {
    fc.assert(
      fc.property(documentOf, actionOf, targetOf, (document, action, target) => {
        fc.pre(action.targets.length > 0);
        const before = verdict(document, action);
        const after = verdict(document, { ...action, targets: [...action.targets, target] });
        expect(stops(before) && !stops(after)).toBe(false);
      }),
      { numRuns: 300 },
    );
  });

  it("never throws, whatever it is given", () => {
    const policy = Policy.parse(
      JSON.stringify({ policy: "p", mode: "enforce", default: "deny", resources: RESOURCES }),
    );
    const hostile = fc.oneof(
      fc.anything(),
      fc.record({
        event: fc.anything(),
        action: fc.anything(),
        targets: fc.anything(),
        actorId: fc.string(),
        actorType: fc.anything(),
      }),
      fc.record({
        event: fc.string(),
        action: fc.constant("READ"),
        targets: fc.array(
          fc.record({
            type: fc.constantFrom("http.endpoint", "file", "socket", "database", "tool", "process"),
            id: fc.oneof(fc.string(), fc.webUrl(), fc.string({ unit: "binary" })),
          }),
        ),
        actorId: fc.string({ unit: "binary" }),
        actorType: fc.constant("agent"),
      }),
    );
    fc.assert(
      fc.property(hostile, (action) => {
        const { decision, ruleId } = evaluateAnything(policy, action);
        expect(decision).toBe("deny");
        expect(["default", "policy_error"]).toContain(ruleId);
      }),
      { numRuns: 300 },
    );
  });

  it("never throws, even when looking at the action does", () => {
    const policy = Policy.parse("policy: p\nmode: enforce\ndefault: allow\n");
    const trap = new Proxy(
      {},
      {
        get(): never {
          throw new Proxy(
            {},
            {
              get: () => {
                throw new Error("again");
              },
            },
          );
        },
      },
    );
    const verdict = evaluateAnything(policy, trap);
    expect(verdict).toMatchObject({ decision: "deny", ruleId: "policy_error", action: "EXECUTE" });
  });
});
