import * as conventions from "@otel-audit/semantic-conventions";

/** The row format that this version writes (rule E1). A format is never edited; a new list of columns is a new number. */
export const ROW_FORMAT = 1;

const LC = "LowCardinality(String)";
const MAP = "Map(LowCardinality(String), String)";

/**
 * The columns of row format 1 in RowBinary order, with their ClickHouse types. Frozen: a leaf hash covers exactly these
 * bytes in exactly this order. `LowCardinality(T)` is the same bytes as `T` in RowBinary.
 */
export const COLUMNS: readonly { readonly name: string; readonly type: string }[] = [
  { name: "RowFormat", type: "UInt16" },
  { name: "StreamId", type: "UUID" },
  { name: "Sequence", type: "UInt64" },
  { name: "ReceivedAt", type: "DateTime64(9)" },
  { name: "Flags", type: "UInt32" },
  { name: "ContentHash", type: "FixedString(16)" },
  { name: "Timestamp", type: "DateTime64(9)" },
  { name: "TraceId", type: "String" },
  { name: "SpanId", type: "String" },
  { name: "ParentSpanId", type: "String" },
  { name: "TraceState", type: "String" },
  { name: "SpanName", type: LC },
  { name: "SpanKind", type: LC },
  { name: "ServiceName", type: LC },
  { name: "ResourceAttributes", type: MAP },
  { name: "ScopeName", type: "String" },
  { name: "ScopeVersion", type: "String" },
  { name: "ScopeAttributes", type: MAP },
  { name: "SpanAttributes", type: MAP },
  { name: "Duration", type: "UInt64" },
  { name: "StatusCode", type: LC },
  { name: "StatusMessage", type: "String" },
  { name: "Events.Timestamp", type: "Array(DateTime64(9))" },
  { name: "Events.Name", type: `Array(${LC})` },
  { name: "Events.Attributes", type: `Array(${MAP})` },
  { name: "Links.TraceId", type: "Array(String)" },
  { name: "Links.SpanId", type: "Array(String)" },
  { name: "Links.TraceState", type: "Array(String)" },
  { name: "Links.Attributes", type: `Array(${MAP})` },
  { name: "RecordId", type: "String" },
  { name: "EventName", type: LC },
  { name: "Action", type: LC },
  { name: "Outcome", type: LC },
  { name: "ErrorType", type: LC },
  { name: "ActorId", type: LC },
  { name: "ActorType", type: LC },
  { name: "ActorChain", type: `Array(${LC})` },
  { name: "OnBehalfOf", type: LC },
  { name: "OnBehalfOfType", type: LC },
  { name: "CredentialId", type: "String" },
  { name: "Principal", type: LC },
  { name: "Provenance", type: LC },
  { name: "TenantId", type: LC },
  { name: "AgentName", type: LC },
  { name: "WorkflowName", type: LC },
  { name: "WorkflowId", type: LC },
  { name: "ConversationId", type: "String" },
  { name: "ToolName", type: LC },
  { name: "ToolCallId", type: "String" },
  { name: "CauseRecordId", type: "String" },
  { name: "TargetType", type: LC },
  { name: "TargetId", type: LC },
  { name: "TargetName", type: LC },
  { name: "ReadTargets", type: `Array(${LC})` },
  { name: "WriteTargets", type: `Array(${LC})` },
  { name: "PolicyDecision", type: LC },
  { name: "PolicyEnforcement", type: LC },
  { name: "PolicyId", type: LC },
  { name: "PolicyVersion", type: LC },
  { name: "PolicyRule", type: LC },
  { name: "PolicyReason", type: LC },
  { name: "CollectorDecision", type: LC },
  { name: "CollectorPolicyId", type: LC },
  { name: "CollectorPolicyVersion", type: LC },
  { name: "CollectorPolicyRule", type: LC },
  { name: "CollectorPolicyReason", type: LC },
  { name: "Origin", type: LC },
  { name: "SchemaVersion", type: LC },
  { name: "AttributeTypes", type: `Map(${LC}, ${LC})` },
];

/** Byte offsets of the columns at the start of a row, which have a fixed size and are patched when the row gets its place. */
export const ROW_OFFSET = { format: 0, streamId: 2, sequence: 18, receivedAt: 26, flags: 34, contentHash: 38, end: 54 };

/** Bits of the `Flags` column. */
export const RowFlag = {
  /** A map key or a typed attribute came more than once; the first was taken (E5). */
  RepeatedKey: 1,
  /** An attribute value was longer than its limit; `audit.truncated.<key>` has the SHA-256 of the whole (E8). */
  ValueTruncated: 2,
  /** Attributes, events or links were left out; `audit.truncated.record:span` (`:resource`, `:scope`) has the SHA-256 of the whole (E8). */
  PartsDropped: 4,
  /** The record was larger than 256 KiB and was reduced; `audit.truncated.record:span` has the SHA-256 of the whole (E8). */
  RecordReduced: 8,
  /** A time did not fit into Int64 nanoseconds and was clamped; `audit.raw.<name>` has it as it came (E7). */
  TimeClamped: 16,
  /** End before start; Duration is 0 (E7). */
  NegativeDuration: 32,
  /** The producer sent an attribute that only a collector may set; it was left out (E9). */
  CollectorAttributeStripped: 64,
  /** A record with this principal and record id is stored already, with other content (O4). */
  Conflict: 128,
  /** The producer sent no `audit.record.id`; the record id was derived from trace id, span id and start (O3). */
  DerivedRecordId: 256,
  /** Action, Outcome, PolicyDecision or PolicyEnforcement has a value that the vocabulary does not have; it is stored as it came. */
  UnknownValue: 512,
} as const;

/** Limits of rule E8, in bytes of stored text unless another unit is named. */
export const LIMITS = {
  /** A whole row. Always holds. */
  record: 256 * 1024,
  /** A value in an attribute map; also names, states and messages. */
  value: 64 * 1024,
  /** Attributes of one span, resource, scope, event or link. */
  attributes: 256,
  /** Events of a span, and links of a span. */
  events: 128,
  /** A key; an attribute with a longer one is left out. */
  key: 256,
  actorId: 256,
  /** `audit.actor.chain`, entries. */
  actorChain: 8,
  targetId: 2048,
  /** Every other typed column, and every entry of an array column. */
  column: 2048,
  /** `ReadTargets`, `WriteTargets`, entries. */
  targets: 256,
  /** The same in a record that is reduced. */
  reducedTargets: 16,
  /** A map value in a record that is reduced. */
  reducedValue: 512,
  /** Members of one kvlist. */
  members: 4096,
  /** Nesting of arrays and kvlists inside one value; deeper values become `null`. */
  depth: 32,
} as const;

/**
 * The attributes that have a column of their own in format 1, in the order of the columns. `max` in bytes; `entries`
 * makes it an array column.
 */
export interface TypedColumn {
  readonly attribute: string;
  readonly column: string;
  readonly max: number;
  readonly entries?: number;
  /** A policy looks at it. */
  readonly judged?: boolean;
}

const column = (attribute: string, column: string): TypedColumn => ({ attribute, column, max: LIMITS.column });

const judged = (attribute: string, column: string, max: number = LIMITS.column, entries?: number): TypedColumn => ({
  attribute,
  column,
  max,
  judged: true,
  ...(entries === undefined ? {} : { entries }),
});

export const TYPED_COLUMNS: readonly TypedColumn[] = [
  column(conventions.ATTR_AUDIT_RECORD_ID, "RecordId"),
  judged(conventions.ATTR_AUDIT_EVENT_NAME, "EventName"),
  judged(conventions.ATTR_AUDIT_ACTION, "Action"),
  column(conventions.ATTR_AUDIT_OUTCOME, "Outcome"),
  column(conventions.ATTR_ERROR_TYPE, "ErrorType"),
  judged(conventions.ATTR_AUDIT_ACTOR_ID, "ActorId", LIMITS.actorId),
  judged(conventions.ATTR_AUDIT_ACTOR_TYPE, "ActorType"),
  judged(conventions.ATTR_AUDIT_ACTOR_CHAIN, "ActorChain", LIMITS.actorId, LIMITS.actorChain),
  judged(conventions.ATTR_AUDIT_ON_BEHALF_OF_ID, "OnBehalfOf"),
  column(conventions.ATTR_AUDIT_ON_BEHALF_OF_TYPE, "OnBehalfOfType"),
  column(conventions.ATTR_AUDIT_ACTOR_CREDENTIAL_ID, "CredentialId"),
  column(conventions.ATTR_GEN_AI_AGENT_NAME, "AgentName"),
  judged(conventions.ATTR_GEN_AI_WORKFLOW_NAME, "WorkflowName"),
  column(conventions.ATTR_AUDIT_WORKFLOW_ID, "WorkflowId"),
  column(conventions.ATTR_GEN_AI_CONVERSATION_ID, "ConversationId"),
  judged(conventions.ATTR_GEN_AI_TOOL_NAME, "ToolName"),
  column(conventions.ATTR_GEN_AI_TOOL_CALL_ID, "ToolCallId"),
  column(conventions.ATTR_AUDIT_CAUSE_RECORD_ID, "CauseRecordId"),
  judged(conventions.ATTR_AUDIT_TARGET_TYPE, "TargetType"),
  judged(conventions.ATTR_AUDIT_TARGET_ID, "TargetId", LIMITS.targetId),
  column(conventions.ATTR_AUDIT_TARGET_NAME, "TargetName"),
  judged(conventions.ATTR_AUDIT_TARGET_READ_IDS, "ReadTargets", LIMITS.targetId, LIMITS.targets),
  judged(conventions.ATTR_AUDIT_TARGET_WRITE_IDS, "WriteTargets", LIMITS.targetId, LIMITS.targets),
  column(conventions.ATTR_AUDIT_POLICY_DECISION, "PolicyDecision"),
  column(conventions.ATTR_AUDIT_POLICY_ENFORCEMENT, "PolicyEnforcement"),
  column(conventions.ATTR_AUDIT_POLICY_ID, "PolicyId"),
  column(conventions.ATTR_AUDIT_POLICY_VERSION, "PolicyVersion"),
  column(conventions.ATTR_AUDIT_POLICY_RULE_ID, "PolicyRule"),
  column(conventions.ATTR_AUDIT_POLICY_REASON, "PolicyReason"),
  column(conventions.ATTR_AUDIT_RECORD_ORIGIN, "Origin"),
  column(conventions.ATTR_AUDIT_SCHEMA_VERSION, "SchemaVersion"),
];
