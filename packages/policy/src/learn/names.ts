import { compareText, groupBy, sorted } from "./collections.ts";
import { unescapeGlob } from "./escape.ts";
import type { Learned, LearnedPattern, LearnedRule } from "./rules.ts";
import { actionNames } from "./actions.ts";

/** A resource of the policy to be: patterns of one place that the same rules are about. */
export interface NamedResource {
  readonly name: string;
  readonly patterns: readonly LearnedPattern[];
}

export interface NamedRule {
  readonly id: string;
  readonly rule: LearnedRule;
  /** Names of its resources. */
  readonly resources: readonly string[];
}

export interface NamedPolicy {
  readonly resources: readonly NamedResource[];
  readonly rules: readonly NamedRule[];
}

/** The rule that keeps wildcards from credentials. */
export const NO_SECRETS = "no-secrets";
/** Longest name that is made; the language takes 64, and a number may follow. */
const MAX_LENGTH = 56;

/** Names that say what a resource is, and who may do what; the same for the same rules. */
export function nameAll({ rules, patterns }: Learned): NamedPolicy {
  const users = new Map<string, number[]>();
  for (const [index, rule] of rules.entries()) {
    for (const key of rule.patterns) {
      users.set(key, [...(users.get(key) ?? []), index]);
    }
  }
  const groups = groupBy(users, ([key, own]) => `${placeOf(patterns.get(key))}\n${own.join(" ")}`);
  const taken = new Set(["none"]);
  const owners = new Map<string, string>();
  const resources = [...groups.values()]
    .map((group) => sorted(group.map(([key]) => key)))
    .toSorted((a, b) => compareText(a[0] ?? "", b[0] ?? ""))
    .map((keys): NamedResource => {
      const own = keys.flatMap((key) => patterns.get(key) ?? []);
      const name = freeName(resourceNames(own), taken);
      for (const key of keys) {
        owners.set(key, name);
      }
      return { name, patterns: own };
    });
  const takenIds = new Set(["default", "policy_error", NO_SECRETS]);
  return {
    resources,
    rules: rules.map((rule) => ({
      id: freeName([`${rule.who.name}-${actionNames(rule.actions).join("-").toLowerCase()}`], takenIds),
      rule,
      resources: sorted([...rule.patterns].map((key) => owners.get(key) ?? "")),
    })),
  };
}

/** Patterns of one place may share a resource: a folder, a host, a database. */
function placeOf(pattern: LearnedPattern | undefined): string {
  if (pattern === undefined || pattern.builtin !== undefined) {
    return pattern?.builtin ?? "";
  }
  const { kind, base, text } = pattern;
  switch (kind) {
    case "http":
      return `http ${base}`;
    case "file":
      return `file ${folderOf(text).join("/")}`;
    case "db":
      return `db ${text.split("/").slice(0, 4).join("/")}`;
    default:
      return kind;
  }
}

/** The folder's segments, up to the first wildcard. */
function folderOf(text: string): string[] {
  const segments = text.split("/").slice(1);
  const wild = segments.findIndex(isWild);
  return segments.slice(0, wild === -1 ? -1 : wild);
}

/** A wildcard is in the pattern. */
export function isWild(pattern: string): boolean {
  return /\*/.test(pattern.replaceAll(/\\./gs, ""));
}

/** Names to choose from, the plainest first. */
function resourceNames(patterns: readonly LearnedPattern[]): string[] {
  const [first] = patterns;
  if (first === undefined) {
    return [];
  }
  const { kind, text, base, builtin } = first;
  if (builtin !== undefined) {
    return [builtin.slice(1)];
  }
  const plain = unescapeGlob(text);
  const last = plain.slice(plain.lastIndexOf("/") + 1);
  const isOne = patterns.length === 1;
  switch (kind) {
    case "http": {
      const host = unescapeGlob(base).replace(/^\w+:\/\//, "");
      const path = commonSegments(patterns, base);
      return [host, ...path.map((_, index) => [host, ...path.slice(0, index + 1)].join("-"))];
    }
    case "file": {
      const folder = folderOf(text).map(unescapeGlob);
      const name = folder.at(-1) ?? "root";
      return [name, folder.slice(-2).join("-"), ...(isOne ? [last] : [])];
    }
    case "db": {
      const database = plain.split("/")[3] ?? last;
      const table = last.slice(last.lastIndexOf(".") + 1);
      return isOne ? [table, last, `${database}-${table}`] : [database, `${database}-tables`];
    }
    case "socket":
      return [isOne ? plain.replace(/^\w+:\/\//, "") : "sockets"];
    case "tool":
      return [isOne ? plain : "tools"];
    default:
      return [isOne ? last : "programs"];
  }
}

/** What the paths of one host have in common. */
function commonSegments(patterns: readonly LearnedPattern[], base: string): string[] {
  const paths = patterns.map(({ text }) => text.slice(base.length + 1).split("/"));
  const [first = []] = paths;
  const end = first.findIndex((segment, index) => isWild(segment) || paths.some((path) => path[index] !== segment));
  return (end === -1 ? first : first.slice(0, end)).map(unescapeGlob);
}

function freeName(candidates: readonly string[], taken: Set<string>): string {
  const names = candidates.map(slug);
  let name = names.find((each) => !taken.has(each));
  for (let number = 2; name === undefined; number++) {
    const numbered = `${names[0] ?? "resource"}-${number}`;
    name = taken.has(numbered) ? undefined : numbered;
  }
  taken.add(name);
  return name;
}

function slug(text: string): string {
  const plain = text.replaceAll(/[^A-Za-z0-9._-]+/g, "-").replace(/^[^A-Za-z0-9]+/, "");
  return plain.slice(0, MAX_LENGTH).replace(/[-.]+$/, "") || "resource";
}
