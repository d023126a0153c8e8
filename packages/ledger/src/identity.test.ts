import { type AttributeValue, encodeAttribute, frameSpans, scanTraces } from "@otel-audit/otlp";
import { describe, expect, test } from "vitest";
import { ByteBuffer } from "./byte-buffer.ts";
import { decodeRow } from "./row-decode.ts";
import { RowEncoder } from "./row-encoder.ts";
import { auditSpan } from "./testing/records.ts";
import type { AssertedIdentity, CollectorFacts, IdentityAnswer } from "./types.ts";

const asked: AssertedIdentity[] = [];

function sender(name: string): CollectorFacts {
  return {
    provenance: "asserted",
    principal: name,
    tenantId: "acme",
    identify: (identity): IdentityAnswer => {
      asked.push(identity);
      if (identity.actorId === "") return { provenance: "asserted", remember: true };
      if (identity.actorId.startsWith(name)) return { provenance: "verified", remember: true };
      if (identity.actorId === "stranger") return { provenance: "asserted", refused: "not yours", remember: false };
      if (identity.actorId === "broken") throw new Error("no answer");
      return { provenance: "asserted", remember: false };
    },
  };
}
const REFUNDS = sender("refunds");
const encoder = new RowEncoder();

function encode(body: Uint8Array, facts: CollectorFacts): Record<string, unknown> | string {
  const out = new ByteBuffer(16);
  const before = out.length;
  encoder.begin(facts);
  const refused = encoder.encode(out, scanTraces(frameSpans({}, { name: "s" }, [body])), 0);
  if (refused === undefined) return decodeRow(out.bytes.subarray(0, out.length), 0).row;
  expect(out.length).toBe(before);
  return refused;
}
const provenance = (attributes: Record<string, AttributeValue>, facts = REFUNDS): unknown => {
  const row = encode(auditSpan(attributes), facts);
  return typeof row === "string" ? row : row["Provenance"];
};

describe("who a sender may speak for", () => {
  test("is asked for each record, and an answer may refuse the span", () => {
    expect(provenance({ "audit.actor.id": "refunds" })).toBe("verified");
    expect(provenance({ "audit.actor.id": "another" })).toBe("asserted");
    expect(provenance({ "audit.actor.id": "stranger" })).toBe("not yours");
    expect(provenance({})).toBe("unattributed");
    expect(() => provenance({ "audit.actor.id": "broken" })).toThrow("no answer");
  });

  test("is remembered for an event and actor, only when it may be, and never for another sender", () => {
    const record = { "audit.actor.id": "refunds", "audit.actor.type": "agent", "audit.event.name": "memory" };
    const orders = sender("orders");
    asked.length = 0;
    for (let i = 0; i < 3; i++) expect(provenance({ ...record, "audit.on_behalf_of.id": `u${i}` })).toBe("verified");
    expect(asked).toEqual([{ event: "memory", actorId: "refunds", actorType: "agent", onBehalfOf: "u0" }]);
    expect(provenance(record, orders)).toBe("asserted");
    expect(provenance(record, orders)).toBe("asserted");
    expect(provenance(record)).toBe("verified");
    // Neither may two columns together look like two others.
    expect(provenance({ ...record, "audit.event.name": "memor", "audit.actor.id": "yrefunds" })).toBe("asserted");
    expect(provenance({ ...record, "audit.actor.type": "user" })).toBe("verified");
    const names = ["refunds", "refunds", "refunds", "yrefunds", "refunds"];
    expect(asked.map(({ actorId }) => actorId)).toEqual(names);
  });

  test("holds for thousands of actors in turn, and for texts that are too long to remember", () => {
    for (let round = 0; round < 2; round++) {
      for (let i = 0; i < 3000; i++) {
        expect(provenance({ "audit.actor.id": `refunds-${i}` })).toBe("verified");
        expect(provenance({ "audit.actor.id": `x-${i}` })).toBe("asserted");
      }
    }
    for (const id of ["refunds", "x"]) {
      const long = { "audit.actor.id": id, "audit.actor.type": "t".repeat(3000), "audit.event.name": "e".repeat(3000) };
      expect(provenance(long)).toBe(id === "x" ? "asserted" : "verified");
    }
  });

  test("is asked about what is stored: the first of two actors, a number's text, what is left of a long id", () => {
    const repeated = Buffer.concat([
      auditSpan({ "audit.actor.id": "x" }),
      encodeAttribute("audit.actor.id", "refunds"),
    ]);
    expect(encode(repeated, REFUNDS)).toMatchObject({ ActorId: "x", Provenance: "asserted" });
    asked.length = 0;
    provenance({ "audit.actor.id": 7 });
    provenance({ "audit.actor.id": `refunds${"é".repeat(300)}` });
    expect(asked.map(({ actorId }) => actorId)).toEqual(["7", `refunds${"é".repeat(124)}`]);
  });

  test("is not verified where the record says that it has the name from another process", () => {
    const actor = { "audit.actor.id": "refunds" };
    expect(provenance({ ...actor, "audit.actor.claimed": ["planner"] })).toBe("verified");
    expect(provenance({ ...actor, "audit.actor.claimed": [] })).toBe("verified");
    for (const claimed of [["planner", "refunds"], "refunds", ["refunds", 1], Array.from({ length: 99 }, () => "a")]) {
      expect(provenance({ ...actor, "audit.actor.claimed": claimed })).toBe("asserted");
    }
    const long = `refunds${"x".repeat(400)}`;
    expect(provenance({ "audit.actor.id": long, "audit.actor.claimed": [long] })).toBe("asserted");
  });
});
