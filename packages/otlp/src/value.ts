/**
 * A double that a plain JavaScript number cannot stand for, because the number would be encoded as an integer
 * (`3.0`). Decoding gives it for doubles with a safe integral value; all other doubles are plain numbers.
 */
export class DoubleValue {
  readonly value: number;

  constructor(value: number) {
    this.value = value;
  }

  valueOf(): number {
    return this.value;
  }

  toString(): string {
    return String(this.value);
  }

  toJSON(): number {
    return this.value;
  }
}

/**
 * The JavaScript side of OTLP's AnyValue.
 *
 * | JavaScript | AnyValue |
 * |---|---|
 * | `string` | `string_value`, UTF-8; lone surrogates become U+FFFD |
 * | `boolean` | `bool_value` |
 * | `number`, a safe integer other than `-0` | `int_value` |
 * | `number`, any other (`0.5`, `-0`, `NaN`, `1e300`) | `double_value` |
 * | `bigint` within int64 | `int_value`; decoded as `number` when it is a safe integer |
 * | `DoubleValue` | `double_value`, also when its value is integral |
 * | `Uint8Array` | `bytes_value` |
 * | array | `array_value` |
 * | plain object | `kvlist_value`; members that are `undefined` are left out |
 * | `null` | an AnyValue with no member set |
 */
export type AttributeValue =
  | string
  | boolean
  | number
  | bigint
  | Uint8Array
  | null
  | DoubleValue
  | readonly AttributeValue[]
  | { readonly [key: string]: AttributeValue };

export type Attributes = Readonly<Record<string, AttributeValue>>;

/** Whether a plain number is written as `int_value`. */
export function encodesAsInteger(value: number): boolean {
  return Number.isSafeInteger(value) && !Object.is(value, -0);
}

/** Sets an own property, also for the key `__proto__`. The first value of a repeated key stays (ledger rule E5). */
export function setFirst(record: Record<string, AttributeValue>, key: string, value: AttributeValue): void {
  if (Object.hasOwn(record, key)) return;
  if (key === "__proto__") {
    Object.defineProperty(record, key, { value, enumerable: true, configurable: true, writable: true });
  } else {
    record[key] = value;
  }
}

export function isEmpty(record: object): boolean {
  for (const _ in record) return false;
  return true;
}
