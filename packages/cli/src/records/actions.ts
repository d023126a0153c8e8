import { DEFAULT_DATABASE } from "@otel-audit/exporter-clickhouse";
import type { PolicyAction, PolicyTarget } from "@otel-audit/policy";
import {
  ATTR_AUDIT_FILE_RECURSIVE,
  CONTROL_EVENT_NAMES,
  EVENT_HTTP_REQUEST,
  EVENT_PROCESS_EXEC,
  EVENT_TOOL_CALL,
  type AuditAction,
  type AuditActorType,
  type AuditTargetType,
} from "@otel-audit/semantic-conventions";
import { conditions, type RecordFilter } from "./filter.ts";
import { databaseName, type AuditQuery } from "./query.ts";
import type { RecordSource } from "./source.ts";

/**
 * The action before a resource's `action:` changed it, which it does for POST requests, tool calls and processes only.
 * A foreign producer's word is taken as it is.
 */
const ACTION_AT_CALL = `multiIf(Origin != 'effect', toString(Action),
    EventName IN ('${EVENT_TOOL_CALL}', '${EVENT_PROCESS_EXEC}'), 'EXECUTE',
    EventName = '${EVENT_HTTP_REQUEST}' AND SpanAttributes['http.request.method'] = 'POST', 'WRITE',
    toString(Action))`;

/** What a policy looks at, and what was said about it, as SQL has them. */
const COLUMNS = {
  ActorId: "ActorId",
  ActorType: "ActorType",
  ActorChain: "ActorChain",
  OnBehalfOf: "OnBehalfOf",
  WorkflowName: "WorkflowName",
  ToolName: "ToolName",
  EventName: "EventName",
  CallAction: ACTION_AT_CALL,
  TargetType: "TargetType",
  TargetId: "TargetId",
  ReadTargets: "ReadTargets",
  WriteTargets: "WriteTargets",
  Recursive: `toBool(SpanAttributes['${ATTR_AUDIT_FILE_RECURSIVE}'] = 'true')`,
  Decision: "EffectiveDecision",
  Rule: "if(CollectorDecision = '', PolicyRule, CollectorPolicyRule)",
  Stopped: "Blocked",
} as const;

/** What a learned policy does not tell apart. */
const NOT_LEARNED: ReadonlySet<string> = new Set(["ActorChain", "WorkflowName", "ToolName"]);

/** Actions that a policy cannot tell apart, and that had the same verdict. */
export interface RecordedAction {
  readonly ActorId: string;
  readonly ActorType: string;
  readonly ActorChain?: readonly string[];
  readonly OnBehalfOf: string;
  readonly WorkflowName?: string;
  readonly ToolName?: string;
  readonly EventName: string;
  readonly CallAction: string;
  readonly TargetType: string;
  readonly TargetId: string;
  readonly ReadTargets: readonly string[];
  readonly WriteTargets: readonly string[];
  /** Its files are directories with everything in them. */
  readonly Recursive?: boolean;
  readonly Decision: string;
  readonly Rule: string;
  readonly Stopped: boolean;
  readonly Count: number;
  readonly Failed: number;
}

/** Records that one statement groups: what the database holds at a time, and far fewer rows than a reader may get. */
const RECORDS_A_PART = 250_000;

/**
 * Recorded actions, the same ones counted: a policy judges each kind once, however often it happened. Many records come in
 * parts, none of which the database or we hold together with another.
 */
export async function* recordedActions(
  source: RecordSource,
  filter: RecordFilter,
  purpose: "judge" | "learn",
): AsyncGenerator<RecordedAction> {
  const { from, params } = fromRecords(filter, source.database);
  const counted = source.rows<{ Count: string }>({ sql: `SELECT toString(count()) AS Count ${from}`, params });
  const [row] = await Array.fromAsync(counted);
  const parts = Math.ceil(Number(row?.Count ?? 0) / RECORDS_A_PART);
  const columns = Object.entries(COLUMNS).filter(([name]) => purpose === "judge" || !NOT_LEARNED.has(name));
  for (let part = 0; part < parts; part++) {
    yield* source.rows<RecordedAction>({
      sql: [
        `SELECT ${columns.map(([name, column]) => (name === column ? name : `${column} AS ${name}`)).join(", ")},`,
        "  toUInt32(count()) AS Count, toUInt32(countIf(Outcome = 'failure')) AS Failed",
        // All of one agent with one target are in one part.
        `${from} AND cityHash64(ActorId, TargetId) % ${parts} = ${part}`,
        `GROUP BY ${columns.map(([name]) => name).join(", ")}`,
      ].join("\n"),
      params,
    });
  }
}

/** Checks the filter, before anything is opened. */
export function checkFilter(filter: RecordFilter, database: string = DEFAULT_DATABASE): void {
  fromRecords(filter, database);
}

function fromRecords(filter: RecordFilter, database: string): { from: string; params: AuditQuery["params"] } {
  const { sql, params } = conditions(filter);
  const control = [...CONTROL_EVENT_NAMES].map((name) => `'${name}'`).join(", ");
  // As the collector does: a record about the audit itself that names a resource is judged like any other.
  const isAction = `NOT (EventName IN (${control}) AND TargetType IN ('', 'process'))`;
  return { from: `FROM ${databaseName(database)}.audit_events\nWHERE (${sql}) AND ${isAction}`, params };
}

/** The action as the enforcement point saw it. Words that are not in the vocabulary stay what they are. */
export function policyAction(row: RecordedAction): PolicyAction {
  return {
    event: row.EventName,
    action: asRecorded<AuditAction>(row.CallAction),
    targets: targetsOf(row),
    actorId: row.ActorId,
    actorType: asRecorded<AuditActorType>(row.ActorType),
    actorChain: row.ActorChain,
    onBehalfOf: row.OnBehalfOf,
    workflow: row.WorkflowName,
    tool: row.ToolName,
  };
}

function targetsOf(row: RecordedAction): PolicyTarget[] {
  const targets = namedTargets(row);
  if (row.Recursive !== true) return targets;
  return targets.map((target) => (target.type === "file" ? { ...target, recursive: true } : target));
}

/** The main target first. One that is read and written is there twice, as it was judged. */
function namedTargets({ TargetType, TargetId, ReadTargets, WriteTargets }: RecordedAction): PolicyTarget[] {
  const type = asRecorded<AuditTargetType>(TargetType);
  const read = ReadTargets.map((id): PolicyTarget => ({ type: typeOf(id, type), id, access: "read" }));
  const written = WriteTargets.map((id): PolicyTarget => ({ type: typeOf(id, type), id, access: "write" }));
  const all = [...written, ...read];
  if (TargetId === "") return all;
  const main = all.find(({ id }) => id === TargetId) ?? { type, id: TargetId };
  return [main, ...all.filter((target) => target !== main)];
}

/** The record has one type, that of the main target; a statement may be about tables and a database. */
function typeOf(id: string, main: AuditTargetType): AuditTargetType {
  if (main === "database" || main === "database.table") {
    return /^[^:]+:\/\/[^/]*\/[^/]+\/./.test(id) ? "database.table" : "database";
  }
  if (/^https?:/.test(id)) return "http.endpoint";
  if (/^(?:unix|tcp|udp):/.test(id)) return "socket";
  return id.startsWith("file:") ? "file" : main;
}

/** A policy must bear any text: one that it does not know is a `policy_error`. */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- names the list at the call
function asRecorded<T extends string>(text: string): T {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- told to readers above
  return text as T;
}
