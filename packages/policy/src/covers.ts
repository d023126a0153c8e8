import type { CompiledRule, Match, NameTerm, ResourceTerm } from "./model.ts";
import type { NamePattern } from "./pattern.ts";

// What can be proved about patterns without looking at actions. Where it cannot be proved the answer is no: a warning
// that is missing costs less than a wrong one.

/** Every action that `rule` matches is matched by `other` too. */
export function covers(other: CompiledRule, rule: CompiledRule): boolean {
  const a = other.match;
  const b = rule.match;
  return (
    (b.actions & ~a.actions) === 0 &&
    (b.actorTypes & ~a.actorTypes) === 0 &&
    NAME_FIELDS.every((field) => coversNames(a[field], b[field], field === "actorChain")) &&
    coversResources(a.resource, b.resource)
  );
}

export const NAME_FIELDS = [
  "agent",
  "actorChain",
  "onBehalfOf",
  "workflow",
  "tool",
  "event",
] as const satisfies readonly (keyof Match)[];

function coversNames(a: NameTerm | undefined, b: NameTerm | undefined, isList: boolean): boolean {
  if (a === undefined || matchesAlways(a)) {
    return true;
  }
  if (b === undefined) {
    return false;
  }
  if (!a.isNegated) {
    return !b.isNegated && isWithin(b, a);
  }
  if (b.isNegated) {
    return isWithin(a, b);
  }
  // Of a list, one element may match the one term and another the other.
  const isDisjoint = b.patterns.every(
    ({ literal }) => literal !== undefined && !a.patterns.some((pattern) => pattern.test(literal)),
  );
  return !isList && isDisjoint && !(a.hasNone && b.hasNone);
}

/** The alternatives of `inner` are all among those of `outer`; negation is not looked at. */
function isWithin(inner: NameTerm, outer: NameTerm): boolean {
  return (
    (!inner.hasNone || outer.hasNone) &&
    inner.patterns.every((pattern) => outer.patterns.some((each) => coversPattern(each, pattern)))
  );
}

export function coversPattern(outer: NamePattern, inner: NamePattern): boolean {
  if (outer.isAgent && !inner.isAgent) {
    return false;
  }
  return outer.text === inner.text || isAnything(outer) || (inner.literal !== undefined && outer.test(inner.literal));
}

function isAnything(pattern: NamePattern): boolean {
  return /^\*+$/.test(pattern.text) && !pattern.isAgent;
}

/** Present and absent values alike. */
function matchesAlways(term: NameTerm): boolean {
  return !term.isNegated && hasEverything(term);
}

/** The field's term excludes every value. */
export function matchesNever(term: NameTerm): boolean {
  return term.isNegated && hasEverything(term);
}

function hasEverything(term: NameTerm): boolean {
  return term.hasNone && term.patterns.some(isAnything);
}

function coversResources(a: ResourceTerm | undefined, b: ResourceTerm | undefined): boolean {
  if (a === undefined) {
    return true;
  }
  if (b === undefined) {
    return false;
  }
  if (a.isNegated) {
    // Resources may overlap, so only "belongs to none" is apart from all of them.
    return b.isNegated ? isSubset(a, b) : b.indexes.length === 0 && b.hasNone && !a.hasNone;
  }
  return !b.isNegated && isSubset(b, a);
}

function isSubset(inner: ResourceTerm, outer: ResourceTerm): boolean {
  return (!inner.hasNone || outer.hasNone) && inner.indexes.every((index) => outer.indexes.includes(index));
}
