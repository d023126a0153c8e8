import { describe, expect, it } from "vitest";
import { summarize } from "../records/summary.ts";
import { actionGroup } from "../testing/rows.ts";
import { summaryLines } from "./summary.ts";

describe("summaryLines", () => {
  it("say in plain language what was touched, by whom, and what was denied", () => {
    const groups = [
      actionGroup({ Count: 3 }),
      actionGroup({ TargetId: "file:///srv/kb/gone.md", Outcome: "failure", ErrorType: "ENOENT" }),
      actionGroup({ EventName: "db.statement", Action: "UPDATE", TargetId: "postgresql://db/app/public.orders" }),
      actionGroup({
        EventName: "http.request",
        Action: "WRITE",
        TargetId: "https://pay.internal/v1/refunds",
        Decision: "review",
        Rule: "person-approves",
      }),
      actionGroup({
        TargetId: "postgresql://db/app/public.cards",
        EventName: "db.statement",
        Decision: "deny",
        Rule: "no-cards",
        Outcome: "failure",
        ErrorType: "policy_denied",
        Blocked: true,
        Count: 2,
      }),
      actionGroup({
        EventName: "tool.call",
        Action: "EXECUTE",
        TargetId: "tool:search",
        Decision: "deny",
        Rule: "default",
        OnBehalfOf: "",
      }),
    ];
    expect(summaryLines(summarize(groups)).join("\n")).toBe(`
  refunds, on behalf of user:4711
    sent to 1 address
      https://pay.internal/v1/refunds
    changed 1 table
      postgresql://db/app/public.orders
    read 2 files, 4 times
      file:///srv/kb/limits.md
      file:///srv/kb/gone.md (failed: ENOENT)
    called 1 tool
      tool:search

  denied
    refunds: READ postgresql://db/app/public.cards, 2 times (stopped, rule no-cards)
    refunds: EXECUTE tool:search (not stopped, no rule allows it)

  to be reviewed
    refunds: WRITE https://pay.internal/v1/refunds (rule person-approves)`);
  });

  it("name a few and count the rest", () => {
    const lines = summaryLines(
      summarize(Array.from({ length: 12 }, (_, i) => actionGroup({ TargetId: `file:///${i}` }))),
    );
    expect(lines).toContain("    read 12 files");
    expect(lines.at(-1)).toBe("      and 7 more");
    const denied = Array.from({ length: 25 }, (_, i) => actionGroup({ TargetId: `file:///${i}`, Decision: "deny" }));
    expect(summaryLines(summarize(denied)).at(-1)).toBe("    and 5 more");
  });

  it("let no record act on the terminal", () => {
    const evil = "\x1b]0;owned\x07\n\u202e";
    const group = actionGroup({
      ActorId: evil,
      OnBehalfOf: evil,
      Action: evil,
      TargetId: evil,
      Outcome: "failure",
      ErrorType: evil,
      Rule: evil,
      EventName: evil,
    });
    const all = [
      group,
      { ...group, Decision: "deny" },
      { ...group, Decision: "review" },
      { ...group, Outcome: "unknown" },
      { ...group, EventName: "audit.bypass" },
    ];
    for (const line of summaryLines(summarize(all))) expect(line).not.toMatch(/[\p{Cc}\p{Cf}]/u);
  });

  it("have nothing to say about nothing", () => {
    expect(summaryLines(summarize([]))).toEqual([]);
  });
});
