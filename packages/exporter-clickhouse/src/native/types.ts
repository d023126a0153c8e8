import { ClickHouseError } from "../errors.ts";

/** A column by its name and ClickHouse type, as in the ledger's `COLUMNS`. */
export interface ColumnType {
  readonly name: string;
  readonly type: string;
}

/** How the values of a type are written as RowBinary. */
export type Layout =
  | { readonly kind: "fixed"; readonly width: number }
  | { readonly kind: "string" }
  | { readonly kind: "lowCardinality" }
  | { readonly kind: "array"; readonly element: Layout }
  | { readonly kind: "map"; readonly key: Layout; readonly value: Layout };

const WIDTHS: Readonly<Record<string, number>> = {
  Bool: 1,
  Int8: 1,
  UInt8: 1,
  Int16: 2,
  UInt16: 2,
  Date: 2,
  Int32: 4,
  UInt32: 4,
  Float32: 4,
  DateTime: 4,
  Date32: 4,
  IPv4: 4,
  Int64: 8,
  UInt64: 8,
  Float64: 8,
  DateTime64: 8,
  Int128: 16,
  UInt128: 16,
  UUID: 16,
  IPv6: 16,
};

/** @throws ClickHouseError `SCHEMA` for a type that would need code. */
export function layoutOf({ name, type }: ColumnType): Layout {
  const [outer, args] = splitType(type);
  const [first, second] = args;
  if (outer === "String" && args.length === 0) return { kind: "string" };
  if (outer === "LowCardinality" && first === "String") return { kind: "lowCardinality" };
  if (outer === "Array" && first !== undefined && second === undefined) {
    return { kind: "array", element: layoutOf({ name, type: first }) };
  }
  if (outer === "Map" && first !== undefined && second !== undefined) {
    return { kind: "map", key: layoutOf({ name, type: first }), value: layoutOf({ name, type: second }) };
  }
  const width = outer === "FixedString" ? Number(first) : WIDTHS[outer];
  if (width !== undefined && Number.isInteger(width) && width > 0) return { kind: "fixed", width };
  throw new ClickHouseError("SCHEMA", `column ${name}: type ${type} cannot be written as Native`);
}

/** `Map(LowCardinality(String), String)` to `["Map", ["LowCardinality(String)", "String"]]`. */
function splitType(type: string): [outer: string, args: string[]] {
  const open = type.indexOf("(");
  if (open < 0) return [type, []];
  const args: string[] = [];
  let depth = 0;
  let start = open + 1;
  for (let i = open; i < type.length; i++) {
    const char = type[i];
    if (char === "(") depth++;
    if (char === ")") depth--;
    if ((char === "," && depth === 1) || (char === ")" && depth === 0)) {
      args.push(type.slice(start, i).trim());
      start = i + 1;
    }
  }
  return [type.slice(0, open), args];
}
