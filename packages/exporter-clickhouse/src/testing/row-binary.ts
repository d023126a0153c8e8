import { COLUMNS, ROW_FORMAT } from "@otel-audit/ledger";
import type { ColumnType } from "../native/types.ts";

/** A value as a test writes it: numbers and times as bigint, binary as Uint8Array, maps as pairs. */
type TestValue = string | number | bigint | Uint8Array | readonly TestValue[];

/** RowBinary of one row, written the plain way and apart from the ledger's encoder. Missing values are the type's default. */
export function encodeRow(
  values: Readonly<Record<string, TestValue>>,
  columns: readonly ColumnType[] = COLUMNS,
): Uint8Array {
  return Buffer.concat(columns.map(({ name, type }) => encode(values[name], type)));
}

/** Rows one behind the other, with their offsets. */
export function pack(rows: readonly Uint8Array[]): { rows: Uint8Array; offsets: Uint32Array } {
  const offsets = new Uint32Array(rows.length + 1);
  for (const [i, row] of rows.entries()) offsets[i + 1] = offsets[i]! + row.length;
  return { rows: Buffer.concat(rows), offsets };
}

const START = 1_795_000_000_000_000_000n;
const ACTIONS = ["READ", "READ", "READ", "UPDATE", "WRITE"];
const VERSION = `sha256:${"ab".repeat(32)}`;

/** A row such as an agent makes: a few agents, many targets, ids of its own. */
export function auditRow(stream: Uint8Array, sequence: number): Uint8Array {
  const agent = `agent:support-${sequence % 40}`;
  const trace = (sequence >> 3).toString(16).padStart(32, "7");
  return encodeRow({
    RowFormat: ROW_FORMAT,
    StreamId: stream,
    Sequence: BigInt(sequence),
    ReceivedAt: START + BigInt(sequence) * 1_000_000n + 5_000_000n,
    ContentHash: Buffer.from(sequence.toString(16).padStart(32, "0"), "hex"),
    Timestamp: START + BigInt(sequence) * 1_000_000n,
    TraceId: trace,
    SpanId: sequence.toString(16).padStart(16, "5"),
    ParentSpanId: (sequence >> 3).toString(16).padStart(16, "3"),
    SpanName: "db.statement SELECT",
    SpanKind: "Client",
    ServiceName: "support",
    ResourceAttributes: [
      ["host.name", "worker-3"],
      ["process.pid", "4711"],
      ["service.name", "support"],
      ["telemetry.sdk.language", "nodejs"],
    ],
    ScopeName: "@otel-audit/instrumentation-node",
    ScopeVersion: "0.1.0",
    SpanAttributes: [
      ["db.namespace", "app"],
      ["db.operation.name", "SELECT"],
      ["db.query.summary", "SELECT orders"],
      ["db.system.name", "postgresql"],
      ["server.address", "db.internal"],
      ["server.port", "5432"],
    ],
    Duration: BigInt(400_000 + (sequence % 1000) * 1000),
    StatusCode: "Unset",
    RecordId: `01j${sequence.toString(36).padStart(23, "0")}`,
    EventName: "db.statement",
    Action: ACTIONS[sequence % ACTIONS.length]!,
    Outcome: "success",
    ActorId: agent,
    ActorType: "agent",
    Provenance: "asserted",
    AgentName: agent,
    WorkflowName: "refund",
    WorkflowId: `wf-${sequence >> 6}`,
    TargetType: "database.table",
    TargetId: `postgresql://db.internal/app/public.orders_${(sequence * 7919) % 2000}`,
    TargetName: "customers",
    ReadTargets: ["postgresql://db.internal/app/public.orders"],
    PolicyDecision: "allow",
    PolicyEnforcement: "observed",
    PolicyId: "support",
    PolicyVersion: VERSION,
    PolicyRule: "lookup",
    Origin: "effect",
    SchemaVersion: "1.0.0",
    AttributeTypes: [["server.port", "int"]],
  });
}

function encode(value: TestValue | undefined, type: string): Uint8Array {
  const inner = /^(\w+)\((.*)\)$/.exec(type);
  const outer = inner?.[1] ?? type;
  const args = inner?.[2] ?? "";
  if (outer === "LowCardinality") return encode(value, args);
  if (outer === "String") return encodeString(value ?? "");
  if (outer === "Array") return encodeList(value, (item) => encode(item, args));
  if (outer === "Map") {
    const comma = args.indexOf(", ");
    const types = [args.slice(0, comma), args.slice(comma + 2)];
    return encodeList(value, (item) => {
      if (!isList(item)) throw new TypeError("a map is a list of pairs");
      return Buffer.concat(types.map((one, i) => encode(item[i], one)));
    });
  }
  if (outer === "UUID" || outer === "FixedString") {
    return value instanceof Uint8Array ? value : Buffer.alloc(outer === "UUID" ? 16 : Number(args));
  }
  const size = { UInt16: 2, UInt32: 4, UInt64: 8, DateTime64: 8 }[outer];
  if (size === undefined) throw new TypeError(`type ${type}`);
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(
    BigInt.asUintN(64, BigInt(Number.isInteger(value) || typeof value === "bigint" ? String(value) : 0)),
  );
  return bytes.subarray(0, size);
}

function encodeString(value: TestValue): Uint8Array {
  const bytes = value instanceof Uint8Array ? value : Buffer.from(String(value));
  return Buffer.concat([lengthOf(bytes.length), bytes]);
}

function encodeList(value: TestValue | undefined, item: (value: TestValue) => Uint8Array): Uint8Array {
  const items = value !== undefined && isList(value) ? value : [];
  return Buffer.concat([lengthOf(items.length), ...items.map(item)]);
}

function lengthOf(size: number): Uint8Array {
  const bytes: number[] = [];
  let rest = size;
  for (; rest > 127; rest >>>= 7) bytes.push((rest & 127) | 128);
  return Uint8Array.from([...bytes, rest]);
}

function isList(value: TestValue): value is readonly TestValue[] {
  return Array.isArray(value);
}
