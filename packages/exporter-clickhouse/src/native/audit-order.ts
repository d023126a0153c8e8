import { COLUMNS } from "@otel-audit/ledger";
import { Dictionary } from "./dictionary.ts";
import { sortByTime } from "./sort-by-time.ts";
import { type Source, sourceOf } from "./source.ts";
import { layoutOf } from "./types.ts";
import { skipString, skipValue, truncated, varintEnd, varintValue } from "./values.ts";

const LAYOUTS = COLUMNS.map(layoutOf);
const TIME = COLUMNS.findIndex(({ name }) => name === "Timestamp");
const ACTOR = COLUMNS.findIndex(({ name }) => name === "ActorId");
/** All columns before it are of a fixed width. */
const TIME_OFFSET = LAYOUTS.slice(0, TIME).reduce(
  (sum, one) => sum + (one.kind === "fixed" ? one.width : Number.NaN),
  0,
);
const BETWEEN = LAYOUTS.slice(TIME + 1, ACTOR);
/** The same for a tight loop: the width, or one of the others. */
const STRING = 0;
const STRING_PAIRS = -1;
const NESTED = -2;
const STEPS = Int8Array.from(BETWEEN, (layout) => {
  if (layout.kind === "fixed") return layout.width;
  if (layout.kind === "string" || layout.kind === "lowCardinality") return STRING;
  return layout.kind === "map" ? STRING_PAIRS : NESTED;
});

const DAY_NS = 86_400e9;
/** More than there are actors in a segment. */
const MANY = 2 ** 32;

/** Rows of one actor on one day. */
interface Group {
  readonly day: number;
  /** The actor's bytes. */
  readonly start: number;
  readonly end: number;
  rows: number;
  /** Where its next row goes. */
  next: number;
}

/** What rows are sorted by. */
interface Keys {
  readonly groups: readonly Group[];
  /** Index into `groups`, for each row. */
  readonly groupOf: Uint32Array;
  /** Nanoseconds since the first row's, exact within a hundred days. */
  readonly times: Float64Array;
}

/**
 * The rows of a segment in the order of `audit_events`: by day, actor, time. The engine does not sort a block that is sorted,
 * and then need not move the values of all its columns either. It looks for itself: another order would not be wrong.
 *
 * @param offsets start of every row and, as the last entry, the end of the last one.
 * @returns numbers of the rows.
 * @throws ClickHouseError `BAD_ROWS`
 */
export function auditOrder(rows: Uint8Array, offsets: Uint32Array): Uint32Array {
  const count = Math.max(offsets.length - 1, 0);
  const { groups, groupOf, times } = readKeys(sourceOf(rows), offsets, count);
  const bytes = Buffer.from(rows.buffer, rows.byteOffset, rows.length);
  const sorted = groups.toSorted((a, b) => a.day - b.day || bytes.compare(bytes, b.start, b.end, a.start, a.end));
  let end = 0;
  for (const group of sorted) {
    group.next = end;
    end += group.rows;
  }
  const order = new Uint32Array(count);
  for (let row = 0; row < count; row++) order[groups[groupOf[row]!]!.next++] = row;
  const spare = new Uint32Array(count);
  for (const group of groups) sortByTime(order, group.next - group.rows, group.next, times, spare);
  return order;
}

function readKeys(source: Source, offsets: Uint32Array, count: number): Keys {
  const { bytes, view } = source;
  const times = new Float64Array(count);
  const groupOf = new Uint32Array(count);
  const groups: Group[] = [];
  const known = new Map<number, number>();
  const actors = new Dictionary();
  let firstHigh = 0;
  let firstLow = 0;
  let lastKey = Number.NaN;
  let last = 0;
  for (let row = 0; row < count; row++) {
    const at = offsets[row]! + TIME_OFFSET;
    let position = at + 8;
    if (position > bytes.length) throw truncated(at);
    const low = view.getUint32(at, true);
    const high = view.getInt32(at + 4, true);
    if (row === 0) {
      firstLow = low;
      firstHigh = high;
    }
    times[row] = (high - firstHigh) * 2 ** 32 + (low - firstLow);
    position = skipBetween(source, position);
    const end = skipString(source, position);
    const actor = actors.index(source, position, end);
    const day = Math.floor((high * 2 ** 32 + low) / DAY_NS);
    const key = day * MANY + actor;
    if (key !== lastKey) {
      last = known.get(key) ?? groups.length;
      lastKey = key;
      if (last === groups.length) {
        known.set(key, last);
        groups.push({ day, start: varintEnd(source, position), end, rows: 0, next: 0 });
      }
    }
    groups[last]!.rows++;
    groupOf[row] = last;
  }
  return { groups, groupOf, times };
}

function skipBetween(source: Source, at: number): number {
  const { bytes } = source;
  let position = at;
  for (let step = 0; step < STEPS.length; step++) {
    const kind = STEPS[step]!;
    let strings = kind === STRING ? 1 : 0;
    if (kind > 0) {
      position += kind;
    } else if (kind < 0) {
      if (bytes[position] === 0) position++;
      else if (kind === NESTED) position = skipValue(source, position, BETWEEN[step]!);
      else {
        const end = varintEnd(source, position);
        strings = 2 * varintValue(source, position, end);
        position = end;
      }
    }
    for (; strings > 0; strings--) position = skipString(source, position);
  }
  return position;
}
