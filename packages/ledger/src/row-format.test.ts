import { createHash } from "node:crypto";
import { encodeSpan } from "@otel-audit/otlp";
import { ATTRIBUTE_COLUMNS } from "@otel-audit/semantic-conventions";
import { expect, test } from "vitest";
import { rowHash } from "./row-decode.ts";
import { COLUMNS, TYPED_COLUMNS } from "./row-format.ts";
import { NO_FACTS, encodeRow } from "./testing/encoded-row.ts";

test("the typed columns of format 1 are those of the conventions", () => {
  const fromConventions = ATTRIBUTE_COLUMNS.filter(({ collectorOnly }) => !collectorOnly);
  expect(
    TYPED_COLUMNS.map(({ attribute, column, entries }) => ({
      attribute,
      column,
      type: entries === undefined ? "string" : "string[]",
    })).toSorted((a, b) => (a.attribute < b.attribute ? -1 : 1)),
  ).toEqual(
    fromConventions
      .map(({ attribute, column, type }) => ({ attribute, column, type }))
      .toSorted((a, b) => (a.attribute < b.attribute ? -1 : 1)),
  );
});

test("format 1 is frozen: columns and one whole row", () => {
  const names = COLUMNS.map(({ name, type }) => `${name} ${type}`).join("\n");
  expect(createHash("sha256").update(names).digest("hex")).toBe(
    "cfba98ea9dabcc75490768a3f98e2d0a8db9c83ac635468f558443e2aca50ddb",
  );
  const body = encodeSpan({
    traceId: "0af7651916cd43dd8448eb211c80319c",
    spanId: "b7ad6b7169203331",
    name: "read",
    startTimeUnixNano: 10n,
    endTimeUnixNano: 30n,
    attributes: { "audit.action": "READ", "audit.actor.id": "agent:a", "audit.record.id": "r1", n: 1, b: [true, "x"] },
  });
  const { bytes } = encodeRow(body, { ...NO_FACTS, principal: "p", tenantId: "t" }, { "service.name": "s" });
  expect(rowHash(bytes)).toBe("f8aac0ca248dae093ef4d96df3100123c7f50f299a24559df26157d5d1914931");
});
