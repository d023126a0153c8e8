import * as fc from "fast-check";
import { expect, it } from "vitest";
import { Memo } from "./memo.ts";
import { Policy } from "./policy.ts";
import type { PolicyAction, PolicyTarget } from "./types.ts";

const TEXT = `policy: p
mode: enforce
default: review
resources:
  kb: { file: "/srv/kb/**" }
  api: { http: "https://a.x/**" }
rules:
  - { id: a, allow: { agent: "a*", resource: [kb, api] } }
  - { id: b, deny: { actor_chain: z, resource: kb } }
  - { id: c, deny: { on_behalf_of: none, action: WRITE } }
  - { id: d, deny: { workflow: w } }
  - { id: e, review: { tool: t } }
  - { id: f, deny: { event: file.write, actor_type: user } }
  - { id: g, allow: { action: READ } }
`;

// Actions that differ in one thing are what a memo could take for each other.
const target: fc.Arbitrary<PolicyTarget> = fc.record(
  {
    type: fc.constantFrom("file", "tool"),
    id: fc.constantFrom("/srv/kb/x", "/srv/kb", "/srv"),
    access: fc.constantFrom("read", "write"),
    recursive: fc.boolean(),
  },
  { requiredKeys: ["type", "id"] },
);
const action: fc.Arbitrary<PolicyAction> = fc.record(
  {
    event: fc.constantFrom("file.read", "file.write"),
    action: fc.constantFrom("READ", "WRITE"),
    targets: fc.array(target, { maxLength: 2 }),
    actorId: fc.constantFrom("a", "b"),
    actorType: fc.constantFrom("agent", "user"),
    actorChain: fc.constantFrom([], ["z"], ["y", "z"]),
    onBehalfOf: fc.constantFrom("user:1", "user:2"),
    workflow: fc.constantFrom("w", "v"),
    tool: fc.constantFrom("t", "u"),
  },
  { requiredKeys: ["event", "action", "targets", "actorId", "actorType"] },
);

it("what was judged before is judged the same as by a policy that has judged nothing", () => {
  const warm = Policy.parse(TEXT);
  fc.assert(
    fc.property(action, (each) => {
      const cold = Policy.parse(TEXT);
      const first = warm.evaluate(each);
      expect(first).toEqual(cold.evaluate(each));
      expect(warm.evaluate(structuredClone(each))).toEqual(first);
    }),
    { numRuns: 1500 },
  );
});

it("an object that the caller uses again is another action", () => {
  const policy = Policy.parse(TEXT);
  const targets = [{ type: "file" as const, id: "/srv/kb/x" }];
  const chain = ["y"];
  const one = { event: "file.read", action: "WRITE" as const, targets, actorId: "a", actorType: "agent" as const };
  const again = { ...one, onBehalfOf: "user:1", actorChain: chain };
  expect(policy.evaluate(again).ruleId).toBe("a");
  chain[0] = "z";
  expect(policy.evaluate(again).ruleId).toBe("b");
  targets[0]!.id = "/elsewhere";
  expect(policy.evaluate(again).ruleId).toBe("default");
});

it("nobody can change what others are told", () => {
  const policy = Policy.parse(TEXT);
  const each: PolicyAction = {
    event: "file.read",
    action: "READ",
    targets: [{ type: "file", id: "/srv/kb/x" }],
    actorId: "a",
    actorType: "agent",
  };
  expect(() => Object.assign(policy.evaluate(each), { decision: "deny" })).toThrow(TypeError);
  expect(policy.evaluate(each).decision).toBe("allow");
});

function of(id: string, actorId = "a"): PolicyAction {
  return { event: "file.read", action: "READ", targets: [{ type: "file", id }], actorId, actorType: "agent" };
}

it("keeps what is used and a bounded number of the rest", () => {
  const memo = new Memo();
  const verdict = Policy.parse(TEXT).evaluate({
    event: "x",
    action: "READ",
    targets: [],
    actorId: "",
    actorType: "user",
  });
  memo.put(of("/often"), verdict);
  for (let index = 0; index < 10_000; index++) {
    memo.put(of(`/${index}`), verdict);
    // Many agents on one file.
    memo.put(of("/shared", `agent-${index}`), verdict);
    expect(memo.get(of("/often"))).toBe(verdict);
  }
  let kept = 0;
  for (let index = 0; index < 10_000; index++) {
    if (memo.get(of(`/${index}`)) !== undefined) kept++;
  }
  expect(kept).toBeGreaterThan(100);
  expect(kept).toBeLessThan(2500);
  memo.put(of(`/${"x".repeat(2000)}`), verdict);
  expect(memo.get(of(`/${"x".repeat(2000)}`))).toBeUndefined();
});
