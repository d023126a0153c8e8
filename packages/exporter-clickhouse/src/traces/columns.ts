import type { ColumnType } from "../native/types.ts";

const LC = "LowCardinality(String)";
const MAP = "Map(LowCardinality(String), String)";

/** Columns of upstream's `otel_traces`, in the order in which `TraceRows` writes them. */
export const TRACE_COLUMNS: readonly ColumnType[] = [
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
];
