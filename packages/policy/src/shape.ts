import type { Path, Source } from "./source.ts";
import { suggest } from "./suggest.ts";

// Checks of plain data by hand: a schema library is 50 ms and 10 MiB at the start of every process that has a policy.

/** What a value has to look like. */
export interface Shape {
  /** Whether the value is of the right type, whatever is wrong inside it. */
  fits(value: unknown): boolean;
  /** Reports what is wrong with a value. */
  check(source: Source, value: unknown, path: Path): void;
  /** Reports that a value is not there. */
  miss(source: Source, path: Path): void;
}

/** The document as `T`, of which `shape` is the description; faults go to the source's list and give `undefined`. */
export function checkShape<T>(source: Source, shape: Described<T>): T | undefined {
  shape.check(source, source.value, []);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what the check was for
  return source.isFaulty ? undefined : (source.value as T);
}

/** A shape that says what its values are. */
export interface Described<T> extends Shape {
  /** Never there: it ties the table to the type. */
  readonly describes?: T;
}

/** May be left out of a mapping. */
interface Optional extends Shape {
  readonly isOptional: true;
}

/** The keys of `T` with the shape of each. */
type Keys<T> = { readonly [K in keyof T]-?: undefined extends T[K] ? Optional : Shape };

export function optional(shape: Shape): Optional {
  return { ...shape, isOptional: true };
}

/** A text of at most `most` characters, not empty. Without `most`: any. */
export function text(most = Infinity): Shape {
  return {
    fits: (value) => typeof value === "string",
    check(source, value, path) {
      if (typeof value !== "string") wrongType(source, path, "a string", value);
      else if (value === "" && most !== Infinity) wrong(source, path, "must not be empty", value);
      else if (value.length > most) wrong(source, path, `has more than ${most} characters`, value);
    },
    miss,
  };
}

/** `true` or `false`. */
export function flag(): Shape {
  return {
    fits: (value) => typeof value === "boolean",
    check(source, value, path) {
      if (typeof value !== "boolean") wrong(source, path, "has to be true or false", value);
    },
    miss,
  };
}

export function oneOf(values: readonly string[]): Shape {
  const known = values.join(", ");
  return {
    fits: (value) => typeof value === "string",
    check(source, value, path) {
      if (typeof value === "string" && values.includes(value)) return;
      const help = typeof value === "string" ? suggest(value, values) : "";
      source.report("INVALID_VALUE", path, `${show(value)} is not one of ${known}${help}`);
    },
    miss: (source, path) => miss(source, path, `; it is one of ${known}`),
  };
}

/** @param ifEmpty what to say of an empty list; undefined: it may be empty */
export function listOf(item: Shape, ifEmpty?: string): Shape {
  return {
    fits: Array.isArray,
    check(source, value, path) {
      if (!Array.isArray(value)) {
        wrongType(source, path, "a list", value);
        return;
      }
      if (value.length === 0 && ifEmpty !== undefined) wrong(source, path, ifEmpty, value);
      for (const [index, each] of value.entries()) item.check(source, each, [...path, index]);
    },
    miss,
  };
}

/** A mapping of any names. */
export function mapOf(item: Shape): Shape {
  return {
    fits: isMapping,
    check(source, value, path) {
      if (!isMapping(value)) wrongType(source, path, "a mapping", value);
      else for (const key of Object.keys(value)) item.check(source, value[key], [...path, key]);
    },
    miss,
  };
}

/** A mapping with these keys and no other. */
export function mapping<T>(keys: Keys<T>): Described<T> {
  const shapes = new Map(Object.entries<Shape | Optional>(keys));
  return {
    fits: isMapping,
    check(source, value, path) {
      if (!isMapping(value)) {
        wrongType(source, path, "a mapping", value);
        return;
      }
      for (const [key, shape] of shapes) {
        if (!("isOptional" in shape) && !Object.hasOwn(value, key)) shape.miss(source, [...path, key]);
      }
      for (const key of Object.keys(value)) {
        const shape = shapes.get(key);
        if (shape === undefined) unknownKey(source, [...path, key], key, [...shapes.keys()]);
        else shape.check(source, value[key], [...path, key]);
      }
    },
    miss,
  };
}

/** The first of the shapes whose type fits the value says what is wrong inside it. */
export function either(message: string, ...shapes: readonly Shape[]): Shape {
  return {
    fits: (value) => shapes.some((shape) => shape.fits(value)),
    check(source, value, path) {
      const shape = shapes.find((each) => each.fits(value));
      if (shape === undefined) wrong(source, path, message, value);
      else shape.check(source, value, path);
    },
    miss: (source, path) => wrong(source, path, message, undefined),
  };
}

function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function wrong(source: Source, path: Path, message: string, value: unknown): void {
  source.report("INVALID_VALUE", path, `${message}, got ${show(value)}`);
}

function wrongType(source: Source, path: Path, type: string, value: unknown): void {
  wrong(source, path, `has to be ${type}`, value);
}

function miss(source: Source, path: Path, help = ""): void {
  source.reportKey("MISSING_KEY", path, `the key ${JSON.stringify(path.at(-1) ?? "")} is missing${help}`);
}

function unknownKey(source: Source, path: Path, key: string, valid: readonly string[]): void {
  const help = suggest(key, valid) || `; known are ${valid.join(", ")}`;
  source.reportKey("UNKNOWN_KEY", path, `unknown key ${JSON.stringify(key)}${help}`);
}

/** The offending value, bounded; texts quoted. */
export function show(value: unknown): string {
  if (value === null || value === undefined) {
    return "nothing";
  }
  const written = JSON.stringify(value) ?? typeof value;
  const shown = written.length > 80 ? `${written.slice(0, 80)}…` : written;
  return typeof value === "number" || typeof value === "boolean" ? `${shown} (a text needs quotes)` : shown;
}
