import type { EmbeddedEngine } from "@otel-audit/exporter-clickhouse";
import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { tempDir } from "../../../../test/support/index.ts";
import { engineWith, insertRows } from "../testing/engine.ts";
import type { RecordFilter } from "./filter.ts";
import {
  FIELDS,
  groupsQuery,
  inlineParams,
  knownNamesQuery,
  recordsQuery,
  type ActionGroup,
  type AuditQuery,
  type AuditRow,
} from "./query.ts";
import { RecordSource } from "./source.ts";

/** Values that try to leave their place in the SQL, in a LIKE pattern, or in the URL that carries parameters. */
const HOSTILE = [
  "'; DROP TABLE otel_audit.audit_events --",
  "' OR '1' = '1",
  String.raw`\' OR 1 = 1 --`,
  String.raw`back\slash\\`,
  "{agent:String}",
  "{target:String}",
  "100%_sure",
  "tab\tnew\nline\rreturn",
  "\x1b[31m\x07\x7f\u009b",
  "größe 日本語 🙂",
  "a&param_agent=b#c?d+e%20f",
  String.raw`\n\t\0\x41\N`,
  "$&$1$$",
  '"quoted"',
  "`tick`",
  "/* comment */ -- x",
];

let engine: EmbeddedEngine;
let source: RecordSource;

beforeAll(async () => {
  engine = await engineWith(tempDir("query"), []);
  source = await RecordSource.open({ url: engine.url });
});
afterAll(async () => {
  await source.close();
  await engine.stop();
});

function rows<Row = AuditRow>(query: AuditQuery): Promise<Row[]> {
  return Array.fromAsync(source.rows<Row>(query));
}

async function ids(filter: RecordFilter, limit = 1000): Promise<string[]> {
  return (await rows(recordsQuery(filter, limit))).map((row) => row.RecordId);
}

describe("a filter's values", () => {
  const values = [
    ...new Set([...HOSTILE, ...fc.sample(fc.string({ minLength: 1, maxLength: 12 }), { numRuns: 15, seed: 7 })]),
  ].filter((value) => !value.includes("\0"));

  beforeAll(() =>
    insertRows(
      engine,
      values.map((value, i) => ({ RecordId: `value-${i}`, TargetId: value, TargetType: "hostile" })),
    ),
  );

  it("find exactly the records that have them, bound as parameters", async () => {
    for (const value of values.filter((text) => !text.includes("*"))) {
      const found = await rows(recordsQuery({ target: value }, 1000));
      expect(found.map((row) => row.TargetId)).toEqual([value]);
    }
  });

  it("find the same written into the SQL, as --format sql prints it", async () => {
    for (const value of values) {
      const query = recordsQuery({ target: value }, 1000);
      const inlined = await rows({ sql: inlineParams(query), params: {} });
      expect(inlined).toEqual(await rows(query));
    }
  });

  it("mean themselves around a *", async () => {
    for (const value of values.filter((text) => !text.includes("*"))) {
      const found = await rows(recordsQuery({ target: `*${value}*` }, 1000));
      expect(found.map((row) => row.TargetId).toSorted()).toEqual(
        values.filter((other) => other.includes(value)).toSorted(),
      );
    }
  });

  it("print as text without control characters", () => {
    for (const value of values) {
      const { sql } = { sql: inlineParams(recordsQuery({ agent: value, target: value, workflow: `*${value}` }, 10)) };
      expect(sql.replaceAll("\n", "")).not.toMatch(/\p{Cc}/u);
    }
  });
});

describe("filters", () => {
  beforeAll(() =>
    insertRows(engine, [
      {
        RecordId: "f1",
        ActorId: "filters",
        AgentName: "Filter bot",
        WorkflowName: "refund",
        WorkflowId: "wf-1",
        Action: "READ",
        Outcome: "success",
        PolicyDecision: "allow",
      },
      {
        RecordId: "f2",
        ActorId: "agent:filters",
        Action: "UPDATE",
        Outcome: "failure",
        PolicyDecision: "allow",
        CollectorDecision: "deny",
        CollectorPolicyRule: "no-cards",
        TraceId: "0af7651916cd43dd8448eb211c80319c",
      },
      {
        RecordId: "f3",
        ActorId: "filters-2",
        TargetId: "file:///old",
        TargetName: "work",
        WriteTargets: ["file:///old", "file:///new"],
        Action: "DELETE",
        Outcome: "unknown",
        PolicyDecision: "review",
      },
      { RecordId: "f4", ActorId: "", Provenance: "unattributed", ReadTargets: ["pg/a", "pg/b"] },
      {
        RecordId: "f5",
        ActorId: "filters-2",
        Timestamp: "2026-11-20 10:00:00.000000001",
        ReceivedAt: "2026-11-22 10:00:00",
      },
      // Who it is was verified; what it calls itself was not.
      { RecordId: "f6", ActorId: "other", AgentName: "Filter bot", Provenance: "verified" },
    ]),
  );

  it.each<[RecordFilter, string[]]>([
    [{ agent: "filters" }, ["f1", "f2"]],
    [{ agent: "agent:filters" }, ["f2"]],
    [{ agent: "filters*" }, ["f5", "f1", "f2", "f3"]],
    [{ agent: "Filter bot" }, ["f1"]],
    [{ agent: "unattributed" }, ["f4"]],
    [{ workflow: "refund" }, ["f1"]],
    [{ workflow: "wf-1" }, ["f1"]],
    [{ target: "file:///new" }, ["f3"]],
    [{ target: "work" }, ["f3"]],
    [{ target: "pg/b" }, ["f4"]],
    [{ target: "pg/*" }, ["f4"]],
    [{ action: "update,delete" }, ["f2", "f3"]],
    [{ decision: "deny" }, ["f2"]],
    [{ decision: "allow", agent: "filters*" }, ["f1"]],
    [{ outcome: "unknown" }, ["f3"]],
    [{ trace: "0AF7651916CD43DD8448EB211C80319C" }, ["f2"]],
    [{ to: "2026-11-21" }, ["f5"]],
    [{ agent: "filters-2", from: "2026-11-20T10:00:00.000000001Z" }, ["f5", "f3"]],
    [{ agent: "filters-2", from: "2026-11-20T10:00:00.000000002Z" }, ["f3"]],
    [{ to: "2026-11-20T10:00:00.000000002Z" }, ["f5"]],
    [{ to: "2026-11-20T10:00:00.000000001Z" }, []],
    [{ receivedFrom: "2026-11-22" }, ["f5"]],
  ])("%j", async (filter, expected) => {
    expect(await ids(filter)).toEqual(expected);
  });
});

describe("recordsQuery", () => {
  const copy = { RecordId: "copy", ActorId: "copies", Principal: "p" };

  beforeAll(() =>
    insertRows(engine, [
      { ...copy, Timestamp: "2026-11-21 10:00:01" },
      { ...copy, Timestamp: "2026-11-21 10:00:01" },
      { ...copy, Timestamp: "2026-11-21 10:00:02", ContentHash: "another content!" },
      ...[1, 2, 3, 4].map((i) => ({
        ActorId: "many",
        RecordId: `many-${i}`,
        Timestamp: `2026-11-21 11:00:0${5 - i}`,
        ReceivedAt: `2026-11-21 11:01:0${5 - i}`,
      })),
      { ActorId: "clock", RecordId: "of-2200", Timestamp: "2200-01-01 00:00:00", ReceivedAt: "2026-11-21 11:00:00" },
      { ActorId: "clock", RecordId: "of-now", Timestamp: "2026-11-21 11:00:01", ReceivedAt: "2026-11-21 11:00:01" },
    ]),
  );

  it("gives the fields of AuditRow, times in UTC with all their nanoseconds", async () => {
    const [row] = await rows(recordsQuery({ agent: "filters" }, 1));
    expect(Object.keys(row!)).toEqual(FIELDS);
    expect(row).toMatchObject({
      Timestamp: "2026-11-21T10:00:00.123456789Z",
      Decision: "deny",
      Rule: "no-cards",
      Blocked: false,
      Violation: false,
    });
  });

  it("takes those that came last, whatever time they claim, and shows them in the order of their times", async () => {
    expect(await ids({ agent: "many" }, 2)).toEqual(["many-2", "many-1"]);
    expect(await ids({ agent: "clock" }, 1)).toEqual(["of-now"]);
  });

  it("shows a copy of a record once, but never hides another content under the same id", async () => {
    expect(await ids({ agent: "copies" })).toEqual(["copy", "copy"]);
  });

  it.each(["", "a b", "x;y", "a`b", "x".repeat(129)])("refuses the database %j", (database) => {
    expect(() => recordsQuery({}, 1, database)).toThrow(/^--database: /);
  });

  it("quotes a database's name where it must", () => {
    expect(recordsQuery({}, 1, "my-audit").sql).toContain("FROM `my-audit`.audit_events");
  });
});

describe("groupsQuery", () => {
  it("counts alike actions", async () => {
    const groups = await rows<ActionGroup>(groupsQuery({ agent: "many" }, 10));
    expect(groups).toEqual([expect.objectContaining({ ActorId: "many", Count: 4, Blocked: false })]);
  });
});

describe("knownNamesQuery", () => {
  it("names agents and workflows, the busiest first", async () => {
    const names = await rows<{ Kind: string; Name: string }>(knownNamesQuery());
    expect(names).toContainEqual({ Kind: "workflow", Name: "refund" });
    expect(names.find(({ Kind }) => Kind === "agent")).toEqual({ Kind: "agent", Name: "many" });
  });
});
