import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { AuditRow } from "../records/query.ts";
import { auditRow } from "../testing/rows.ts";
import { CSV_FORMAT, JSONL_FORMAT, JSON_FORMAT, recordTable, type RecordFormat } from "./records.ts";

const ESC = "\x1b[2J";

function write(format: RecordFormat, rows: readonly AuditRow[]): string {
  return format.head + rows.map((row, i) => format.record(row, i)).join("") + format.tail(rows.length);
}

describe("json", () => {
  it("is one array, also of nothing", () => {
    const rows = [auditRow(), auditRow({ ActorId: `${ESC}\u202e"` })];
    expect(JSON.parse(write(JSON_FORMAT, rows))).toEqual(rows);
    expect(JSON.parse(write(JSON_FORMAT, []))).toEqual([]);
    expect(write(JSON_FORMAT, rows)).not.toMatch(/[\p{Cf}]|\p{Cc}\[/u);
  });
});

describe("jsonl", () => {
  it("is one object a line, whatever is in it", () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: "binary" }), { maxLength: 5 }), (texts) => {
        const rows = texts.map((TargetId) => auditRow({ TargetId }));
        const lines = write(JSONL_FORMAT, rows).split("\n");
        expect(lines.pop()).toBe("");
        expect(lines.map((line) => JSON.stringify(JSON.parse(line)))).toEqual(rows.map((row) => JSON.stringify(row)));
      }),
    );
  });
});

function cells(row: AuditRow): string {
  return write(CSV_FORMAT, [row]).split("\r\n")[1]!;
}

describe("csv", () => {
  it("has a line of names first", () => {
    expect(write(CSV_FORMAT, [])).toMatch(/^Timestamp,ActorId,.*,RecordId\r\n$/);
  });

  it("quotes what has to be quoted", () => {
    expect(cells(auditRow({ ActorId: 'a "b", c' }))).toMatch(/^[^,]+,"a ""b"", c",/);
  });

  it.each(["=cmd|' /C calc'!A1", "+1", "-1", "@SUM(A1)", "＝1"])("makes %s no formula", (text) => {
    expect(cells(auditRow({ ActorId: text }))).toMatch(/^[^,]+,'/);
  });

  it("keeps control characters from terminal and spreadsheet: a record is one line", () => {
    const line = cells(auditRow({ ActorId: `a\r\nb${ESC}` }));
    expect(line).toContain(String.raw`a\x0d\x0ab\x1b[2J`);
  });
});

describe("table", () => {
  it("shows who did what, on what, with what result, under which rule", () => {
    const { lines } = recordTable([
      auditRow(),
      auditRow({ ActorId: "", Provenance: "unattributed", Outcome: "failure", ErrorType: "ENOENT" }),
      auditRow({ Decision: "deny", Rule: "no-cards", Outcome: "failure", ErrorType: "policy_denied", Blocked: true }),
      auditRow({ Decision: "deny", Rule: "no-cards", Violation: true }),
      auditRow({ EventName: "process.start", Action: "EXECUTE", TargetId: "process://host/1", Rule: "control_record" }),
    ]);
    expect(lines.map((line) => line.split(/ {2,}/))).toEqual([
      ["TIME (UTC)", "AGENT", "ON BEHALF OF", "ACTION", "TARGET", "OUTCOME", "DECISION", "RULE"],
      [
        "2026-11-21 10:00:00.123",
        "refunds",
        "user:4711",
        "READ",
        "file:///srv/kb/limits.md",
        "success",
        "allow",
        "lookup",
      ],
      [
        "2026-11-21 10:00:00.123",
        "unattributed",
        "user:4711",
        "READ",
        "file:///srv/kb/limits.md",
        "failure (ENOENT)",
        "allow",
        "lookup",
      ],
      [
        "2026-11-21 10:00:00.123",
        "refunds",
        "user:4711",
        "READ",
        "file:///srv/kb/limits.md",
        "failure",
        "deny, stopped",
        "no-cards",
      ],
      [
        "2026-11-21 10:00:00.123",
        "refunds",
        "user:4711",
        "READ",
        "file:///srv/kb/limits.md",
        "success",
        "deny, not stopped",
        "no-cards",
      ],
      [
        "2026-11-21 10:00:00.123",
        "refunds",
        "user:4711",
        "process.start",
        "process://host/1",
        "success",
        "allow",
        "control_record",
      ],
    ]);
  });

  it("leaves out the day on a terminal when there is only one", () => {
    expect(recordTable([auditRow()], 200)).toMatchObject({
      day: "2026-11-21",
      lines: [expect.anything(), expect.stringMatching(/^10:00:00\.123 /)],
    });
    const other = auditRow({ Timestamp: "2026-11-20T23:59:59.999999999Z" });
    expect(recordTable([other, auditRow()], 200)).toMatchObject({
      day: undefined,
      lines: [expect.anything(), expect.stringMatching(/^2026-11-20 23:59:59\.999 /), expect.anything()],
    });
  });

  it("marks lines by decision and outcome", () => {
    const { styles } = recordTable([
      auditRow(),
      auditRow({ Decision: "deny" }),
      auditRow({ Decision: "review" }),
      auditRow({ Outcome: "failure" }),
    ]);
    expect(styles).toEqual(["bold", undefined, "red", "yellow", "dim"]);
  });
});
