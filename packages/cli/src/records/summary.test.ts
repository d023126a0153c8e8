import { describe, expect, it } from "vitest";
import { actionGroup } from "../testing/rows.ts";
import { summarize } from "./summary.ts";

const stopped = { Decision: "deny", Outcome: "failure", ErrorType: "policy_denied", Blocked: true } as const;

describe("summarize", () => {
  it("counts actions by agent, event and target", () => {
    const summary = summarize([
      actionGroup({ Count: 3 }),
      actionGroup({ TargetId: "file:///srv/kb/other.md", Count: 5 }),
      actionGroup({ EventName: "http.request", Action: "WRITE", TargetId: "https://pay.internal/v1/refunds" }),
      actionGroup({ ActorId: "auditor", OnBehalfOf: "" }),
    ]);
    expect(summary).toMatchObject({ actions: 10, processes: 0, denied: [], toReview: [], failed: [], unfinished: [] });
    expect(summary.agents.map(({ agent, onBehalfOf }) => [agent, onBehalfOf])).toEqual([
      ["auditor", []],
      ["refunds", ["user:4711"]],
    ]);
    expect(summary.agents[1]!.actions).toEqual([
      {
        event: "http.request",
        action: "WRITE",
        count: 1,
        targets: [{ id: "https://pay.internal/v1/refunds", count: 1, failed: 0, errors: [] }],
      },
      {
        event: "file.read",
        action: "READ",
        count: 8,
        targets: [
          { id: "file:///srv/kb/other.md", count: 5, failed: 0, errors: [] },
          { id: "file:///srv/kb/limits.md", count: 3, failed: 0, errors: [] },
        ],
      },
    ]);
  });

  it("does not say that an agent did what was stopped", () => {
    const summary = summarize([actionGroup(stopped), actionGroup({ ...stopped, Decision: "review" })]);
    expect(summary).toMatchObject({ actions: 2, agents: [], failed: [] });
    expect(summary.denied).toHaveLength(1);
    expect(summary.toReview).toHaveLength(1);
  });

  it("keeps a deny that was only observed among what was done", () => {
    const summary = summarize([actionGroup({ Decision: "deny" })]);
    expect(summary.agents).toHaveLength(1);
    expect(summary.denied).toHaveLength(1);
  });

  it("tells failures of a target from its successes", () => {
    const { agents, failed } = summarize([
      actionGroup({ Count: 2 }),
      actionGroup({ Outcome: "failure", ErrorType: "ENOENT" }),
      actionGroup({ Outcome: "failure", ErrorType: "" }),
    ]);
    expect(agents[0]!.actions[0]!.targets).toEqual([
      { id: "file:///srv/kb/limits.md", count: 4, failed: 2, errors: ["ENOENT", "unknown error"] },
    ]);
    expect(failed).toHaveLength(2);
  });

  it("names what was begun and never seen to end", () => {
    expect(summarize([actionGroup({ Outcome: "unknown" })]).unfinished).toHaveLength(1);
  });

  it("takes records about the audit itself for what they are", () => {
    const control = { ActorId: "system:otel-audit", OnBehalfOf: "refunds", Action: "EXECUTE" };
    const summary = summarize([
      actionGroup({ ...control, EventName: "process.start", Count: 2 }),
      actionGroup({ ...control, EventName: "policy.loaded" }),
      actionGroup({ ...control, EventName: "audit.bypass" }),
      // By the collector.
      actionGroup({ ...control, EventName: "credential.shared" }),
    ]);
    expect(summary).toMatchObject({ actions: 0, processes: 2, agents: [] });
    expect(summary.bypasses).toHaveLength(1);
  });

  it("calls nobody unattributed", () => {
    expect(summarize([actionGroup({ ActorId: "" })]).agents[0]!.agent).toBe("unattributed");
  });
});
