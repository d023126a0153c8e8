import { RowFlag } from "@otel-audit/ledger";
import { describe, expect, it } from "vitest";
import type { Consumer } from "../../component.ts";
import {
  batchOf,
  intoLedger,
  misuses,
  others,
  processor,
  send,
  span,
  takeRows,
  who,
  world,
  type Attributes,
} from "../../testing/audit-processor.ts";

describe("who a record is of", () => {
  it("is verified where the credential belongs to the actor, with its principal and tenant", async () => {
    const { rows, reasons } = await send(
      processor(),
      "refunds",
      { "audit.actor.id": "refunds" },
      { "audit.actor.id": "agent:refunds", "audit.actor.chain": ["agent:planner"] },
      {},
    );
    expect(reasons).toEqual([]);
    expect(rows.map(who)).toEqual([
      ["refunds", "refunds", "verified", "acme"],
      ["agent:refunds", "refunds", "verified", "acme"],
      ["", "refunds", "unattributed", "acme"],
    ]);
    expect((await send(processor(), "support", { "audit.actor.id": "support-7" })).rows.map(who)).toEqual([
      ["support-7", "support", "verified", "globex"],
    ]);
  });

  it("is asserted without a credential, and control records are taken, as on a loopback without any", async () => {
    const { rows } = await send(
      processor(),
      undefined,
      { "audit.actor.id": "refunds" },
      { "audit.event.name": "policy.loaded", "audit.actor.id": "system:otel-audit" },
      {},
    );
    expect(rows.map(who)).toEqual([
      ["refunds", "", "asserted", ""],
      ["system:otel-audit", "", "asserted", ""],
      ["", "", "unattributed", ""],
    ]);
  });

  it.each<[string, Attributes]>([
    ["another's name", { "audit.actor.id": "orders" }],
    ["a name that begins like its own", { "audit.actor.id": "refunds2" }],
    ["its name in capitals", { "audit.actor.id": "Refunds" }],
    ["its name and a NUL", { "audit.actor.id": "refunds\0" }],
    ["its name and a space", { "audit.actor.id": "refunds " }],
    ["a full-width letter", { "audit.actor.id": "\uff52efunds" }],
    ["a zero-width space", { "audit.actor.id": "refunds\u200b" }],
    ["a list with its name", { "audit.actor.id": ["refunds"] }],
    ["a person with its name", { "audit.actor.id": "refunds", "audit.actor.type": "user" }],
    ["a person's name", { "audit.actor.id": "user:4711", "audit.actor.type": "user" }],
    ["the instrumentation's name for what it does not say itself", { "audit.actor.id": "system:otel-audit" }],
    [
      "the start of another's process",
      { "audit.event.name": "process.start", "audit.actor.id": "system:otel-audit", "audit.on_behalf_of.id": "orders" },
    ],
    ["the collector's name", { "audit.actor.id": "otel-audit-collector", "audit.actor.type": "system" }],
    ["a pattern of its name", { "audit.actor.id": "*" }],
  ])("refuses %s, that span only, and stores it as asserted where that is configured", async (what, forged) => {
    const refusing = await send(processor(), "refunds", { "audit.actor.id": "refunds" }, forged, {
      "audit.actor.id": "refunds",
    });
    expect(others(refusing.rows).map(who)).toEqual([
      ["refunds", "refunds", "verified", "acme"],
      ["refunds", "refunds", "verified", "acme"],
    ]);
    expect(refusing.reasons).toEqual([expect.stringContaining('credential "refunds" does not belong to "')]);
    const storing = await send(processor({ mismatch: "store" }), "refunds", { "audit.actor.id": "refunds" }, forged);
    expect(storing.reasons).toEqual([]);
    const actor = forged["audit.actor.id"];
    const stored = typeof actor === "string" ? actor : JSON.stringify(actor);
    expect(who(others(storing.rows)[1]!)).toEqual([stored, "refunds", "asserted", "acme"]);
    expect(misuses(refusing.rows).length, what).toBe(1);
    const metrics = await world.context.telemetry.registry.metrics();
    expect(metrics).toMatch(/otel_audit_mismatched_records\{[^}]*credential="refunds",result="refused"[^}]*\} 1\n/);
    expect(metrics).toMatch(/otel_audit_mismatched_records\{[^}]*credential="refunds",result="stored"[^}]*\} 1\n/);
  });

  it("cannot be said by the producer: provenance, principal, tenant and the collector's verdict are the collector's", async () => {
    const forged = {
      "audit.actor.provenance": "verified",
      "audit.principal.id": "guard",
      "audit.actor.principal": "guard",
      "audit.tenant.id": "globex",
      "audit.flags": 0,
      "audit.collector.policy.decision": "allow",
    };
    for (const token of ["refunds", undefined]) {
      const { rows } = await send(processor({ mismatch: "store" }), token, { "audit.actor.id": "orders", ...forged });
      const [row] = others(rows);
      const expected = token === undefined ? ["orders", "", "asserted", ""] : ["orders", "refunds", "asserted", "acme"];
      expect(who(row!)).toEqual(expected);
      expect(row).toMatchObject({ CollectorDecision: "" });
      expect(Number(row!["Flags"]) & RowFlag.CollectorAttributeStripped).toBeTruthy();
    }
  });

  it("keeps apart what two credentials send under one record id", async () => {
    const same = { "audit.record.id": "01J-same" };
    const first = await send(processor(), "refunds", { ...same, "audit.actor.id": "refunds" });
    const second = await send(processor(), "support", { ...same, "audit.actor.id": "support-1" });
    const again = await send(processor(), undefined, { ...same });
    const rows = [...first.rows, ...second.rows, ...again.rows];
    expect(rows.map(who).length).toBe(3);
    expect(rows.filter(({ Flags }) => (Number(Flags) & RowFlag.Conflict) !== 0)).toEqual([]);
  });
});

describe("control records", () => {
  const own = { "audit.actor.id": "system:otel-audit", "audit.actor.type": "system" };
  it.each(["policy.loaded", "review.requested", "review.decided", "key.rotated", "keys.rotated", "retention.applied"])(
    "%s only from a credential with its role",
    async (event) => {
      const record = { ...own, "audit.event.name": event };
      const refused = await send(processor({ mismatch: "store" }), "refunds", record, { "audit.actor.id": "refunds" });
      expect(refused.rows.map(who)).toEqual([["refunds", "refunds", "verified", "acme"]]);
      const role = event.split(".", 1)[0]!.replace(/^key$/, "keys");
      expect(refused.reasons).toEqual([`the role "${role}" sends "${event}", and credential "refunds" has not`]);
      expect((await send(processor(), "guard", record)).rows.map(who)).toEqual([
        ["system:otel-audit", "guard", "verified", ""],
      ]);
    },
  );

  it("are never taken from a producer where only the collector makes them", async () => {
    const record = { ...own, "audit.event.name": "credential.shared" };
    const { rows, reasons } = await send(processor(), "guard", record, {
      ...record,
      "audit.event.name": "credential.x",
    });
    expect([rows, reasons.length]).toEqual([[], 2]);
    expect(reasons[0]).toContain("only the collector itself sends");
  });

  it("of a review name who decided, which its role is trusted with and nobody verified", async () => {
    const decided = { "audit.event.name": "review.decided", "audit.actor.id": "user:ann", "audit.actor.type": "user" };
    expect((await send(processor(), "guard", decided)).rows.map(who)).toEqual([["user:ann", "guard", "asserted", ""]]);
  });

  it.each(["process.start", "process.summary", "audit.bypass"])(
    "%s of its own process from everybody",
    async (event) => {
      const record = { ...own, "audit.event.name": event };
      const { rows, reasons } = await send(
        processor(),
        "refunds",
        { ...record, "audit.on_behalf_of.id": "refunds" },
        { ...record, "audit.on_behalf_of.id": "agent:refunds" },
        record,
        { ...record, "audit.actor.id": "refunds", "audit.actor.type": "agent" },
      );
      expect(reasons).toEqual([]);
      expect(rows.map(({ Provenance }) => Provenance)).toEqual(["verified", "verified", "verified", "verified"]);
    },
  );
});

describe("a credential in the name of another agent", () => {
  it("is one record of the collector for each agent, of the credential's tenant", async () => {
    const by = processor();
    const spans = Array.from({ length: 50 }, () => ({ "audit.actor.id": "orders" }));
    const first = await send(by, "refunds", { "audit.actor.id": "refunds" }, ...spans);
    expect(first.reasons.length).toBe(50);
    const [record, ...more] = misuses(first.rows);
    expect(more).toEqual([]);
    expect(record).toMatchObject({
      ActorId: "otel-audit-collector",
      Principal: "otel-audit-collector",
      Provenance: "verified",
      TenantId: "acme",
      CredentialId: "refunds",
      Outcome: "failure",
      ErrorType: "identity_refused",
      SpanAttributes: { "audit.credential.asserted": "orders", "audit.credential.agents": '["agent:refunds"]' },
    });
    expect(misuses((await send(by, "refunds", { "audit.actor.id": "orders" })).rows)).toEqual([]);
    expect(misuses((await send(by, "refunds", { "audit.actor.id": "invoices" })).rows).length).toBe(1);
    // Whoever makes up names fills no table with them.
    const flood = Array.from({ length: 500 }, (_, i) => ({ "audit.actor.id": `x${i}` }));
    expect(misuses((await send(by, "refunds", ...flood)).rows).length).toBe(6);
  });

  it("is on disk before the request is acknowledged, also when the log took nothing at first", async () => {
    const by = processor();
    world.failure = new Error("log full");
    const batch = batchOf("refunds", [span({ "audit.actor.id": "orders" })]);
    await expect(by.consume(batch)).rejects.toThrow("log full");
    world.failure = undefined;
    let calls = 0;
    const flaky: Consumer = {
      consume: async (one) => {
        // The records of the request are taken, what they show is not.
        if (++calls === 2) throw new Error("log full");
        return intoLedger.consume(one);
      },
    };
    const second = processor({}, flaky);
    await expect(second.consume(batch)).rejects.toThrow("log full");
    expect(await takeRows()).toEqual([]);
    await second.consume(batch);
    expect(misuses(await takeRows()).length).toBe(1);
  });
});
