import { describe, expect, it } from "vitest";
import { ONE, STAR } from "./glob-syntax.ts";
import { haveCommonText } from "./glob.ts";
import { Policy } from "./policy.ts";
import type { PolicyAction } from "./types.ts";

const policy = Policy.parse(`
policy: cards
mode: enforce
default: allow
resources:
  cards: { db: "**/public.cards" }
  orders: { db: "db/app/public.orders" }
  all: { db: "db/app/**" }
rules:
  - { id: no-cards, deny: { resource: cards } }
  - { id: orders-elsewhere, review: { action: EXECUTE, resource: orders } }
`);

function on(type: "database" | "database.table", id: string, action: PolicyAction["action"]): PolicyAction {
  return { event: "db.statement", action, targets: [{ type, id }], actorId: "a", actorType: "agent" };
}

const narrow = (resource: string): Policy =>
  Policy.parse(`
policy: p
mode: enforce
default: deny
resources: { some: { db: "${resource}" } }
rules: [{ id: some, allow: { resource: some } }]
`);

describe("SQL that nobody could look into", () => {
  it("counts as touching every protected table of its database", () => {
    expect(policy.evaluate(on("database", "postgresql://db/app", "EXECUTE"))).toMatchObject({
      decision: "deny",
      enforcement: "enforced",
      ruleId: "no-cards",
    });
    expect(policy.evaluate(on("database", "postgresql://DB:5432/App", "EXECUTE"))).toMatchObject({
      ruleId: "no-cards",
    });
  });

  it("does not where it is known what the statement does", () => {
    expect(policy.evaluate(on("database", "postgresql://db/app", "READ"))).toMatchObject({ ruleId: "default" });
    expect(policy.evaluate(on("database.table", "postgresql://db/app/public.other", "EXECUTE"))).toMatchObject({
      ruleId: "default",
    });
  });

  it("is not of a database in which the pattern has no table", () => {
    const elsewhere = Policy.parse(`
policy: p
mode: enforce
default: allow
resources: { orders: { db: "db/app/public.orders" } }
rules: [{ id: no-orders, deny: { resource: orders } }]
`);
    expect(elsewhere.evaluate(on("database", "postgresql://db/other", "EXECUTE"))).toMatchObject({ ruleId: "default" });
    expect(elsewhere.evaluate(on("database", "postgresql://db/app", "EXECUTE"))).toMatchObject({ ruleId: "no-orders" });
  });

  it("is not allowed by an allow for a table, only by one for the database", () => {
    const action = on("database", "postgresql://db/app", "EXECUTE");
    expect(narrow("db/app/public.orders").evaluate(action).decision).toBe("deny");
    expect(narrow("db/app/**").evaluate(action).decision).toBe("allow");
  });
});

function all(id: string, action: PolicyAction["action"] = "DELETE"): PolicyAction {
  return on("database.table", id, action);
}

describe("tables that are not known by name", () => {
  it.each([
    "postgresql://db/app/public.*",
    "postgresql://db/app/*.cards",
    "postgresql://DB:5432/App/*.Cards",
    "postgresql://db/app/PUBLIC.*",
  ])("%s may be one that a deny names", (id) => {
    expect(policy.evaluate(all(id))).toMatchObject({ decision: "deny", ruleId: "no-cards" });
    expect(policy.evaluate(all(id, "READ"))).toMatchObject({ decision: "deny", ruleId: "no-cards" });
  });

  it.each([
    "postgresql://db/app/hr.*",
    "postgresql://db/app/*.orders",
    "postgresql://db/app/%2A.cards",
    "postgresql://db/app/public.%2A",
  ])("%s may not", (id) => {
    expect(policy.evaluate(all(id))).toMatchObject({ ruleId: "default" });
  });

  it("is allowed only by what allows all that it may be", () => {
    const action = all("postgresql://db/app/public.*", "READ");
    expect(narrow("db/app/public.orders").evaluate(action).decision).toBe("deny");
    expect(narrow("db/app/public.o*").evaluate(action).decision).toBe("deny");
    expect(narrow("db/app/public.*").evaluate(action).decision).toBe("allow");
    expect(narrow("**").evaluate(action).decision).toBe("allow");
    const somewhere = all("postgresql://db/app/*.orders", "READ");
    expect(narrow("db/app/public.orders").evaluate(somewhere).decision).toBe("deny");
    expect(narrow("db/app/*.orders").evaluate(somewhere).decision).toBe("allow");
  });
});

describe("haveCommonText", () => {
  it.each([
    [["public.", STAR], "public.*", true],
    [["public.c", ONE, STAR], "*.cards", true],
    [["public.", ONE], "*.cards", false],
    [[STAR, ".cards"], "hr.*", true],
    [["hr.cards"], "h*s", true],
    [["hr.cards"], "*hr.*x*", false],
    [[], "*", true],
    [[STAR], "", true],
    [[ONE], "", false],
  ] as const)("%j and %s: %s", (tokens, text, is) => {
    expect(haveCommonText(tokens, text)).toBe(is);
  });
});
