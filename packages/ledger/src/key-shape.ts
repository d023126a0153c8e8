import type { AttributeList } from "@otel-audit/otlp";
import { COLLECTOR_ONLY, PLAIN, classifyKey, needsQualifier } from "./attribute-keys.ts";
import { compareBytes, viewOf } from "./byte-buffer.ts";
import { LIMITS, TYPED_COLUMNS } from "./row-format.ts";

/** Shapes kept; a power of two. */
const SLOTS = 64;
/** A span with more attributes is not worth remembering. */
const MAX_ATTRIBUTES = 64;

/** A sequence of attribute keys, and what becomes of each. Only sequences without anything special have one. */
export interface KeyShape {
  /** Row of the AttributeList that fills each typed column, -1 for none. */
  readonly typed: Int32Array;
  /** Rows of the attributes that stay in the map, sorted by key. */
  readonly plain: Uint8Array;
  /** All keys, one behind the other, and where each ends. */
  readonly keys: DataView;
  readonly ends: Uint32Array;
}

/**
 * The spans of one instrumentation have the same keys in the same order, again and again: what they mean is worked out
 * once, and then only compared.
 */
export class KeyShapes {
  readonly #slots: (KeyShape | undefined)[] = Array.from({ length: SLOTS }, () => undefined);
  #last: KeyShape | undefined;

  /** The shape of a span's attributes; undefined when they have to be looked at one by one. */
  find(bytes: Uint8Array, list: AttributeList): KeyShape | undefined {
    if (this.#last !== undefined && hasKeys(this.#last, bytes, list)) return this.#last;
    return (this.#last = this.#lookUp(bytes, list));
  }

  #lookUp(bytes: Uint8Array, list: AttributeList): KeyShape | undefined {
    const { count, keyStart, keyEnd } = list;
    if (count > MAX_ATTRIBUTES) return undefined;
    let hash = count;
    for (let row = 0; row < count; row++) hash = (Math.imul(hash, 31) + keyEnd[row]! - keyStart[row]!) | 0;
    const slot = (hash ^ (hash >>> 6) ^ (hash >>> 12)) & (SLOTS - 1);
    const known = this.#slots[slot];
    if (known !== undefined && hasKeys(known, bytes, list)) return known;
    const learned = learn(bytes, list);
    if (learned !== undefined) this.#slots[slot] = learned;
    return learned;
  }
}

function hasKeys({ keys, ends }: KeyShape, bytes: Uint8Array, { count, keyStart, keyEnd }: AttributeList): boolean {
  if (ends.length !== count) return false;
  const view = viewOf(bytes);
  let known = 0;
  for (let row = 0; row < count; row++) {
    const start = keyStart[row]!;
    const length = keyEnd[row]! - start;
    if (length !== ends[row]! - known) return false;
    let i = 0;
    for (; i + 8 <= length; i += 8) if (keys.getBigInt64(known + i) !== view.getBigInt64(start + i)) return false;
    if (length >= 8) {
      // Its last eight bytes, some of them for the second time.
      i = length - 8;
      if (keys.getBigInt64(known + i) !== view.getBigInt64(start + i)) return false;
    } else {
      for (; i < length; i++) if (keys.getUint8(known + i) !== view.getUint8(start + i)) return false;
    }
    known += length;
  }
  return true;
}

/** Undefined for keys that are repeated, too long, the collector's own, or like a name of ours. */
function learn(bytes: Uint8Array, { count, keyStart, keyEnd }: AttributeList): KeyShape | undefined {
  const typed = new Int32Array(TYPED_COLUMNS.length).fill(-1);
  const plain: number[] = [];
  const ends = new Uint32Array(count);
  const parts: Uint8Array[] = [];
  let length = 0;
  for (let row = 0; row < count; row++) {
    const start = keyStart[row]!;
    const end = keyEnd[row]!;
    const known = classifyKey(bytes, start, end);
    if (known === COLLECTOR_ONLY || end - start > LIMITS.key || needsQualifier(bytes, start, end)) return undefined;
    if (known === PLAIN) plain.push(row);
    else if (typed[known] === -1) typed[known] = row;
    else return undefined;
    length += end - start;
    ends[row] = length;
    parts.push(bytes.subarray(start, end));
  }
  const compare = (a: number, b: number): number =>
    compareBytes(bytes, keyStart[a]!, keyEnd[a]!, bytes, keyStart[b]!, keyEnd[b]!);
  plain.sort(compare);
  if (plain.some((row, i) => i > 0 && compare(plain[i - 1]!, row) === 0)) return undefined;
  const keys = new Uint8Array(Buffer.concat(parts));
  return { typed, plain: Uint8Array.from(plain), keys: new DataView(keys.buffer), ends };
}
