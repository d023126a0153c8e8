import { type AttributeList, ValueKind } from "@otel-audit/otlp";
import {
  ATTR_AUDIT_FILE_RECURSIVE,
  type AuditAction,
  type AuditActorType,
  type AuditTargetType,
} from "@otel-audit/semantic-conventions";
import { TypedColumns } from "./typed-columns.ts";
import type { CollectorFacts, CollectorVerdict, JudgedEvent } from "./types.ts";

const EVENT_NAME = TypedColumns.find("EventName");
const ACTION = TypedColumns.find("Action");
const ACTOR_ID = TypedColumns.find("ActorId");
const ACTOR_TYPE = TypedColumns.find("ActorType");
const ACTOR_CHAIN = TypedColumns.find("ActorChain");
const ON_BEHALF_OF = TypedColumns.find("OnBehalfOf");
const WORKFLOW_NAME = TypedColumns.find("WorkflowName");
const TOOL_NAME = TypedColumns.find("ToolName");
const TARGET_TYPE = TypedColumns.find("TargetType");
const TARGET_ID = TypedColumns.find("TargetId");
const READ_TARGETS = TypedColumns.find("ReadTargets");
const WRITE_TARGETS = TypedColumns.find("WriteTargets");

const RECURSIVE = Buffer.from(ATTR_AUDIT_FILE_RECURSIVE);

type Target = JudgedEvent["targets"][number];

/** The collector's verdict on what is about to be stored, undefined when it has none. Fails closed. */
export function judge(
  columns: TypedColumns,
  facts: CollectorFacts,
  bytes: Uint8Array,
  attributes: AttributeList,
): CollectorVerdict | undefined {
  if (facts.judge === undefined) return undefined;
  let verdict: CollectorVerdict | undefined;
  try {
    verdict = facts.judge(judgedEvent(columns, isRecursive(bytes, attributes)));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { decision: "deny", policyId: "", policyVersion: "", ruleId: "policy_error", reason };
  }
  if (verdict === undefined || columns.cut === undefined) return verdict;
  // A policy saw less than there was: that is no evaluation.
  const reason = `${columns.cut} exceeds its limit and was cut`;
  return { ...verdict, decision: "deny", ruleId: "policy_error", reason };
}

/** What a policy is asked. The unions hold what the vocabulary has; a producer may send any text. */
function judgedEvent(columns: TypedColumns, recursive: boolean): JudgedEvent {
  const chain = columns.texts(ACTOR_CHAIN);
  return {
    event: columns.text(EVENT_NAME),
    action: asSent<AuditAction>(columns.text(ACTION)),
    targets: recursive ? judgedTargets(columns).map(withAllBelow) : judgedTargets(columns),
    actorId: columns.text(ACTOR_ID),
    actorType: asSent<AuditActorType>(columns.text(ACTOR_TYPE)),
    ...(chain.length > 0 ? { actorChain: chain } : {}),
    ...(columns.isEmpty(ON_BEHALF_OF) ? {} : { onBehalfOf: columns.text(ON_BEHALF_OF) }),
    ...(columns.isEmpty(WORKFLOW_NAME) ? {} : { workflow: columns.text(WORKFLOW_NAME) }),
    ...(columns.isEmpty(TOOL_NAME) ? {} : { tool: columns.text(TOOL_NAME) }),
  };
}

/** Whether the action took directories with everything in them, as a column would have it: by the value's text. */
function isRecursive(bytes: Uint8Array, attributes: AttributeList): boolean {
  const row = attributes.find(bytes, RECURSIVE);
  if (row === -1) return false;
  const start = attributes.valueStart[row]!;
  const kind = attributes.kind[row];
  if (kind === ValueKind.Bool) return bytes[start] !== 0;
  return kind === ValueKind.String && Buffer.from(bytes.subarray(start, attributes.valueEnd[row])).equals(TRUE);
}

const TRUE = Buffer.from("true");

function withAllBelow(target: Target): Target {
  return target.type === "file" ? { ...target, recursive: true } : target;
}

/** The main target first, then what is only read or written. */
function judgedTargets(columns: TypedColumns): Target[] {
  const type = asSent<AuditTargetType>(columns.text(TARGET_TYPE));
  const id = columns.text(TARGET_ID);
  const read = columns.texts(READ_TARGETS);
  const written = columns.texts(WRITE_TARGETS);
  const targets: Target[] = [];
  if (id !== "") {
    const access = written.includes(id) ? "write" : read.includes(id) ? "read" : undefined;
    targets.push(access === undefined ? { type, id } : { type, id, access });
  }
  for (const other of read) if (other !== id) targets.push({ type: typeOf(other, type), id: other, access: "read" });
  for (const other of written)
    if (other !== id) targets.push({ type: typeOf(other, type), id: other, access: "write" });
  return targets;
}

/** By the scheme of an id, what further targets are: a record names the type of the main one only. */
const TYPES: readonly (readonly [schemes: RegExp, type: AuditTargetType])[] = [
  [/^file:/, "file"],
  [/^https?:/, "http.endpoint"],
  [/^(?:unix|tcp|udp|tls):/, "socket"],
];

function typeOf(id: string, main: AuditTargetType): AuditTargetType {
  return TYPES.find(([schemes]) => schemes.test(id))?.[1] ?? main;
}

/** A producer's text where the vocabulary has a fixed list. A policy must bear any text: one it does not know matches nothing. */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- names the list at the call
function asSent<T extends string>(text: string): T {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- told to readers of JudgedEvent
  return text as T;
}
