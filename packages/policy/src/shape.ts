import type { z as Zod } from "zod";
import { zodLibrary } from "./lazy.ts";
import type { Path, Source } from "./source.ts";
import { suggest } from "./suggest.ts";

/** Validates plain data against a zod schema; faults go to the source's list and give `undefined`. */
export function checkShape<T>(source: Source, schema: Zod.ZodType<T>): T | undefined {
  const result = schema.safeParse(source.value, { reportInput: true });
  if (result.success) {
    return result.data;
  }
  for (const issue of result.error.issues) {
    reportIssue(source, issue, [], schema);
  }
  return undefined;
}

type Issue = Zod.core.$ZodIssue;

function reportIssue(source: Source, issue: Issue, before: Path, schema: Zod.ZodType): void {
  const path = [...before, ...issue.path.map((part) => (typeof part === "symbol" ? String(part) : part))];
  switch (issue.code) {
    case "unrecognized_keys": {
      const valid = keysAt(schema, path);
      for (const key of issue.keys) {
        const known = valid.length === 0 ? "" : `; known are ${valid.join(", ")}`;
        const help = suggest(key, valid) || known;
        source.reportKey("UNKNOWN_KEY", [...path, key], `unknown key ${JSON.stringify(key)}${help}`);
      }
      return;
    }
    case "invalid_union": {
      // The branch whose type fits the value says what is wrong inside it.
      const branch = issue.errors.find((issues) => !issues.some((each) => each.path.length === 0 && isTypeFault(each)));
      if (branch !== undefined && branch.length > 0) {
        for (const inner of branch) {
          reportIssue(source, inner, path, schema);
        }
        return;
      }
      source.report("INVALID_VALUE", path, `${issue.message}, got ${show(issue.input)}`);
      return;
    }
    case "invalid_value": {
      const values = issue.values.map(String);
      if (issue.input === undefined) {
        reportMissing(source, path, `; it is one of ${values.join(", ")}`);
        return;
      }
      const help = typeof issue.input === "string" ? suggest(issue.input, values) : "";
      source.report("INVALID_VALUE", path, `${show(issue.input)} is not one of ${values.join(", ")}${help}`);
      return;
    }
    case "invalid_type":
      if (issue.input === undefined) {
        reportMissing(source, path, "");
      } else {
        source.report("INVALID_VALUE", path, `has to be ${article(issue.expected)}, got ${show(issue.input)}`);
      }
      return;
    default:
      source.report("INVALID_VALUE", path, `${issue.message}, got ${show(issue.input)}`);
  }
}

function reportMissing(source: Source, path: Path, help: string): void {
  source.reportKey("MISSING_KEY", path, `the key ${JSON.stringify(path.at(-1) ?? "")} is missing${help}`);
}

function isTypeFault(issue: Issue): boolean {
  return issue.code === "invalid_type";
}

/** The keys that the schema knows at a path, for suggestions. */
function keysAt(schema: Zod.ZodType, path: Path): string[] {
  let candidates: Zod.core.$ZodType[] = [schema];
  for (const part of path) {
    candidates = candidates.flatMap((each) => children(each, part));
  }
  return candidates
    .flatMap(unwrap)
    .flatMap((each) => (each instanceof zodLibrary().ZodObject ? Object.keys(each.shape) : []));
}

function children(schema: Zod.core.$ZodType, part: string | number): Zod.core.$ZodType[] {
  return unwrap(schema).flatMap((each) => {
    if (each instanceof zodLibrary().ZodObject) {
      const child = Object.entries(each.shape).find(([key]) => key === part)?.[1];
      return child === undefined ? [] : [child];
    }
    if (each instanceof zodLibrary().ZodArray) {
      return [each.element];
    }
    return each instanceof zodLibrary().ZodRecord ? [each.valueType] : [];
  });
}

function unwrap(schema: Zod.core.$ZodType): Zod.core.$ZodType[] {
  if (schema instanceof zodLibrary().ZodOptional) {
    return unwrap(schema.unwrap());
  }
  return schema instanceof zodLibrary().ZodUnion ? schema.options.flatMap((each) => unwrap(each)) : [schema];
}

function article(type: string): string {
  return type === "object" || type === "record" ? "a mapping" : type === "array" ? "a list" : `a ${type}`;
}

/** The offending value, bounded; texts quoted. */
export function show(value: unknown): string {
  if (value === null || value === undefined) {
    return "nothing";
  }
  const text = JSON.stringify(value) ?? typeof value;
  const shown = text.length > 80 ? `${text.slice(0, 80)}…` : text;
  return typeof value === "number" || typeof value === "boolean" ? `${shown} (a text needs quotes)` : shown;
}
