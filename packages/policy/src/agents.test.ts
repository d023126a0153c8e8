import { expect, test } from "vitest";
import { compileAgents } from "./agents.ts";

test.each<[string[], string, string, boolean]>([
  [["refunds"], "refunds", "agent", true],
  [["refunds"], "agent:refunds", "agent", true],
  [["agent:refunds"], "refunds", "agent", true],
  [["agent:refunds"], "refunds", "user", false],
  [["agent:refunds"], "agent:refunds", "", true],
  [["refunds"], "refunds", "user", false],
  [["refunds"], "agent:refunds", "user", false],
  [["refunds"], "refunds", "Agent", false],
  [["refunds"], "refunds", "", true],
  [["refunds", "*"], "refunds", "system", false],
  [["user:ann"], "user:ann", "user", true],
  [["user:ann"], "user:ann", "service", false],
  [["service:*"], "service:shop", "service", true],
  [["refunds"], "user:refunds", "user", false],
  [["refunds"], "agent:agent:refunds", "agent", false],
  [["refunds"], "Refunds", "agent", false],
  [["refunds"], "refunds ", "agent", false],
  [["refunds"], "refunds\0", "agent", false],
  [["a", "support-*"], "agent:support-7", "agent", true],
  [["support-*"], "other-support-7", "agent", false],
  [["{a,b}"], "b", "agent", true],
  [["*"], "user:anybody", "user", true],
  [["*"], "", "agent", false],
  [["*"], "agent:", "agent", false],
])("%j and %j of type %j: %s", (patterns, id, type, expected) => {
  expect(compileAgents(patterns)(id, type)).toBe(expected);
});

test.each([[""], ["none"], ["a{b"], ["!a"], ["a\u0000"]])("%j is not a pattern", (pattern) => {
  expect(() => compileAgents([pattern])).toThrow(Error);
});
