import { CliError } from "../errors.ts";

/** Which records; every part is ANDed. Texts may hold `*` for any characters. */
export interface RecordFilter {
  readonly agent?: string;
  readonly target?: string;
  readonly action?: string;
  readonly decision?: string;
  readonly outcome?: string;
  /** Name (kind of work) or id (one run) of a workflow. */
  readonly workflow?: string;
  readonly trace?: string;
  /** ISO 8601 time, or how long ago: `90s`, `15m`, `2h`, `14d`. */
  readonly from?: string;
  readonly to?: string;
}

/** Conditions in SQL with the values bound beside them. */
export interface Conditions {
  readonly sql: string;
  readonly params: Readonly<Record<string, string>>;
}

const UNITS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const NAMES: Readonly<Record<"action" | "decision" | "outcome", readonly string[]>> = {
  action: ["READ", "WRITE", "CREATE", "UPDATE", "DELETE", "EXECUTE"],
  decision: ["allow", "deny", "review"],
  outcome: ["success", "failure", "unknown"],
};

/**
 * The WHERE clause of a filter.
 *
 * @throws CliError `USAGE` naming the option and its value
 */
export function conditions(filter: RecordFilter, now = Date.now()): Conditions {
  const parts: string[] = [];
  const params: Record<string, string> = {};
  const add = (name: string, value: string, sql: (parameter: string) => string): void => {
    params[name] = value;
    parts.push(sql(`{${name}:String}`));
  };
  const text = (name: string, value: string | undefined, ...columns: string[]): void => {
    if (value === undefined) return;
    const glob = value.includes("*");
    const compare = (column: string, parameter: string): string => (glob ? `${column} LIKE ${parameter}` : `${column} = ${parameter}`);
    add(name, glob ? likePattern(value) : value, (parameter) => `(${columns.map((column) => compare(column, parameter)).join(" OR ")})`);
  };
  text("agent", filter.agent, "ActorId", "AgentName");
  text("target", filter.target, "TargetId", "TargetName");
  text("workflow", filter.workflow, "WorkflowName", "WorkflowId");
  text("trace", filter.trace?.toLowerCase(), "TraceId");
  text("action", oneOf("action", filter.action?.toUpperCase()), "Action");
  text("decision", oneOf("decision", filter.decision?.toLowerCase()), "EffectiveDecision");
  text("outcome", oneOf("outcome", filter.outcome?.toLowerCase()), "Outcome");
  for (const [name, comparison] of [["from", ">="], ["to", "<"]] as const) {
    const value = filter[name];
    if (value === undefined) continue;
    add(name, time(name, value, now), (parameter) => `Timestamp ${comparison} parseDateTime64BestEffort(${parameter}, 9, 'UTC')`);
  }
  return { sql: parts.length === 0 ? "1" : parts.join(" AND "), params };
}

function oneOf(name: keyof typeof NAMES, value: string | undefined): string | undefined {
  if (value !== undefined && !NAMES[name].includes(value)) {
    throw new CliError("USAGE", `--${name}: "${value}" is not one of ${NAMES[name].join(", ")}`);
  }
  return value;
}

function likePattern(glob: string): string {
  return glob.replaceAll(/[\\%_]/g, String.raw`\$&`).replaceAll("*", "%");
}

function time(option: string, value: string, now: number): string {
  const ago = /^(\d{1,9})([smhd])$/.exec(value);
  const ms = ago ? now - Number(ago[1]) * UNITS[ago[2]!]! : Date.parse(value);
  const date = new Date(ms);
  if (Number.isNaN(date.getTime())) {
    throw new CliError("USAGE", `--${option}: "${value}" is neither a time (2026-11-21T10:00:00Z) nor how long ago (90s, 15m, 2h, 14d)`);
  }
  return date.toISOString();
}
