import { describe, expect, test } from "vitest";
import { NO_FACTS, encodeAttributes } from "./testing/encoded-row.ts";
import type { JudgedEvent } from "./types.ts";

function broken(): never {
  throw new Error("no policy");
}

describe("the collector's verdict", () => {
  const attributes = {
    "audit.event.name": "db.statement",
    "audit.action": "UPDATE",
    "audit.actor.id": "agent:a",
    "audit.actor.type": "agent",
    "audit.actor.chain": ["agent:root"],
    "audit.on_behalf_of.id": "user:1",
    "gen_ai.workflow.name": "refund",
    "gen_ai.tool.name": "sql",
    "audit.target.type": "database.table",
    "audit.target.id": "t1",
    "audit.target.read_ids": ["t2", "t1"],
    "audit.target.write_ids": ["t1"],
    "audit.policy.decision": "allow",
    "audit.collector.policy.decision": "allow",
  };
  const verdict = { decision: "deny", policyId: "p", policyVersion: "sha256:1", ruleId: "r", reason: "because" };

  test("judges what is stored, and stands beside the producer's", () => {
    const seen: JudgedEvent[] = [];
    const row = encodeAttributes(attributes, { ...NO_FACTS, judge: (event) => (seen.push(event), verdict) });
    expect(seen).toEqual([
      {
        event: "db.statement",
        action: "UPDATE",
        targets: [
          { type: "database.table", id: "t1", access: "write" },
          { type: "database.table", id: "t2", access: "read" },
        ],
        actorId: "agent:a",
        actorType: "agent",
        actorChain: ["agent:root"],
        onBehalfOf: "user:1",
        workflow: "refund",
        tool: "sql",
      },
    ]);
    expect(row).toMatchObject({
      PolicyDecision: "allow",
      CollectorDecision: "deny",
      CollectorPolicyId: "p",
      CollectorPolicyVersion: "sha256:1",
      CollectorPolicyRule: "r",
      CollectorPolicyReason: "because",
    });
  });

  test.each([
    [true, true],
    ["true", true],
    [false, undefined],
    ["yes", undefined],
  ])("judges directories with all that is in them where the attribute says %j", (value, recursive) => {
    const seen: JudgedEvent[] = [];
    const copy = {
      "audit.event.name": "file.copy",
      "audit.target.type": "file",
      "audit.target.id": "file:///to",
      "audit.target.read_ids": ["file:///from"],
      "audit.target.write_ids": ["file:///to"],
      "audit.file.recursive": value,
    };
    encodeAttributes(copy, { ...NO_FACTS, judge: (event) => (seen.push(event), verdict) });
    expect(seen[0]?.targets.map((target) => [target.id, target.recursive])).toEqual([
      ["file:///to", recursive],
      ["file:///from", recursive],
    ]);
  });

  test("is empty without a policy, whatever the producer sends", () => {
    expect(encodeAttributes(attributes)).toMatchObject({ CollectorDecision: "", CollectorPolicyRule: "" });
    expect(encodeAttributes(attributes, { ...NO_FACTS, judge: () => undefined })).toMatchObject({
      CollectorDecision: "",
    });
  });

  test("fails closed when the judge throws, and when it saw only a part", () => {
    expect(encodeAttributes(attributes, { ...NO_FACTS, judge: broken })).toMatchObject({
      CollectorDecision: "deny",
      CollectorPolicyRule: "policy_error",
      CollectorPolicyReason: "no policy",
    });
    const hidden = { ...attributes, "audit.target.write_ids": Array.from({ length: 257 }, (_, i) => `w${i}`) };
    expect(encodeAttributes(hidden, { ...NO_FACTS, judge: () => ({ ...verdict, decision: "allow" }) })).toMatchObject({
      CollectorDecision: "deny",
      CollectorPolicyId: "p",
      CollectorPolicyRule: "policy_error",
      CollectorPolicyReason: "audit.target.write_ids exceeds its limit and was cut",
    });
  });
});
