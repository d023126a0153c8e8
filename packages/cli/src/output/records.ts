import { CONTROL_EVENT_NAMES } from "@otel-audit/semantic-conventions";
import { FIELDS, type AuditRow } from "../records/query.ts";
import { UNATTRIBUTED } from "../records/filter.ts";
import type { Style } from "./stdout.ts";
import { tableLines, type Column } from "./table.ts";
import { printable, safeJson } from "./text.ts";

/** How records are written for machines and spreadsheets: what comes first, each record, what comes last. */
export interface RecordFormat {
  readonly head: string;
  record(row: AuditRow, index: number): string;
  tail(count: number): string;
}

/** One JSON array. */
export const JSON_FORMAT: RecordFormat = {
  head: "[",
  record: (row, index) => `${index === 0 ? "" : ","}\n  ${safeJson(row, 2).replaceAll("\n", "\n  ")}`,
  tail: (count) => (count === 0 ? "]\n" : "\n]\n"),
};

/** One JSON object a line. */
export const JSONL_FORMAT: RecordFormat = {
  head: "",
  record: (row) => `${safeJson(row)}\n`,
  tail: () => "",
};

/** RFC 4180 with a line of names. Made for spreadsheets: a cell is never a formula, control characters are spelled out. */
export const CSV_FORMAT: RecordFormat = {
  head: `${FIELDS.join(",")}\r\n`,
  record: (row) => `${FIELDS.map((name) => csvCell(String(row[name]))).join(",")}\r\n`,
  tail: () => "",
};

function csvCell(value: string): string {
  const text = printable(value);
  // Spreadsheets run what starts so as a formula, quoted or not (https://owasp.org/www-community/attacks/CSV_Injection).
  const harmless = /^[=+\-@＝＋－＠]/.test(text) ? `'${text}` : text;
  return /[",]|^\s|\s$/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
}

const COLUMNS: readonly Column[] = [
  { title: "TIME (UTC)" },
  { title: "AGENT", shrink: true },
  { title: "ON BEHALF OF", shrink: true, optional: true, drop: 2 },
  { title: "ACTION", shrink: true },
  { title: "TARGET", shrink: true, important: true },
  { title: "OUTCOME", shrink: true },
  { title: "DECISION" },
  { title: "RULE", shrink: true, optional: true, drop: 1 },
];

interface RecordTable {
  /** The day (UTC) of all records, where the lines leave it out. */
  readonly day: string | undefined;
  readonly lines: readonly string[];
  /** How each line stands out, where it does. */
  readonly styles: readonly (Style | undefined)[];
}

/** @param width columns of the terminal that shows it; undefined: nothing is cut */
export function recordTable(rows: readonly AuditRow[], width?: number): RecordTable {
  const days = new Set(rows.map((row) => row.Timestamp.slice(0, 10)));
  // Nothing is left out of what a program may read.
  const day = width !== undefined && days.size === 1 ? [...days][0] : undefined;
  return {
    day,
    lines: tableLines(
      COLUMNS,
      rows.map((row) => cells(row, day !== undefined)),
      width,
    ),
    styles: ["bold", ...rows.map(rowStyle)],
  };
}

function cells(row: AuditRow, isTimeOnly: boolean): string[] {
  return [
    row.Timestamp.slice(isTimeOnly ? 11 : 0, 23).replace("T", " "),
    row.ActorId || UNATTRIBUTED,
    row.OnBehalfOf,
    // A record about the audit itself has an action by convention only.
    CONTROL_EVENT_NAMES.has(row.EventName) ? row.EventName : row.Action,
    row.TargetId,
    outcome(row),
    decision(row),
    row.Rule,
  ];
}

/** A stopped action has `policy_denied` as its error: the decision says that already. */
function outcome(row: AuditRow): string {
  return row.ErrorType === "" || row.Blocked ? row.Outcome : `${row.Outcome} (${row.ErrorType})`;
}

function decision(row: AuditRow): string {
  if (row.Blocked) return `${row.Decision}, stopped`;
  return row.Violation ? `${row.Decision}, not stopped` : row.Decision;
}

function rowStyle(row: AuditRow): Style | undefined {
  if (row.Decision === "deny") return "red";
  if (row.Decision === "review") return "yellow";
  return row.Outcome === "success" ? undefined : "dim";
}
