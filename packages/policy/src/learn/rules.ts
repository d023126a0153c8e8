import { compareText, groupBy, isSubset, sorted } from "./collections.ts";
import { generalize } from "./generalize.ts";
import { distinctItems, itemKey, type Item, type Need, type Tally, type Who } from "./need.ts";

/** People and services that a rule names one by one; more are "anybody, but never nobody". */
const MOST_NAMED = 20;

/** On whose behalf: these (empty: nobody), or where they are too many `some` (not nobody) or `any`. */
export type OnBehalfOf = ReadonlySet<string> | "some" | "any";

/** One rule of the policy to be. */
export interface LearnedRule {
  readonly who: Who;
  readonly onBehalfOf: OnBehalfOf;
  /** Bits by danger. */
  readonly actions: number;
  readonly patterns: ReadonlySet<string>;
  /** Its actions read one thing and change another: the rule allows both for each. */
  readonly isMixed: boolean;
  readonly tally: Tally;
}

/** A pattern of the policy to be, and what it stands for. */
export interface LearnedPattern {
  readonly text: string;
  readonly kind: Item["kind"];
  readonly base: string;
  readonly builtin: string | undefined;
  /** So many different things. */
  readonly items: number;
  readonly tally: Tally;
}

export interface Learned {
  readonly rules: readonly LearnedRule[];
  readonly patterns: ReadonlyMap<string, LearnedPattern>;
  /** Names of those who touched credentials. */
  readonly careful: ReadonlySet<string>;
}

/** The fewest rules that allow what is needed, with wildcards where what is needed repeats itself. */
export function formRules(needs: readonly Need[], most: number): Learned {
  const careful = new Set(needs.filter(touchesSecrets).map(({ who }) => who.name));
  const book = new PatternBook();
  const rules: LearnedRule[] = [];
  for (const own of groupBy(needs, ({ who }) => who.key).values()) {
    const wants: Want[] = [];
    for (const alike of groupBy(own, ({ actions }) => actions).values()) {
      const items = alike.flatMap((need) => need.items);
      const general = generalize(distinctItems(items), { most, careful: own.some(({ who }) => careful.has(who.name)) });
      for (const need of alike) {
        wants.push({ need, patterns: book.add(need, general) });
      }
    }
    rules.push(...counted(withoutCovered(rulesOf(wants)), wants));
  }
  return { rules: rules.toSorted(compareRules), patterns: book.patterns, careful };
}

/** What an action needs, in the patterns that were chosen. */
interface Want {
  readonly need: Need;
  readonly patterns: ReadonlySet<string>;
}

/** For one who acts. */
function rulesOf(wants: readonly Want[]): LearnedRule[] {
  const rules = rulesOfSingles(wants.filter(({ need }) => need.isUniform));
  const several = wants.filter(({ need, patterns }) => patterns.size > 1 || !need.isUniform);
  const missing = several.filter(({ need, patterns }) => !rules.some((rule) => allows(rule, need, patterns)));
  // An allow needs all targets of an action in one rule: a join of tables, a copy from here to there.
  const together = groupBy(missing, ({ need, patterns }) => {
    return `${need.actions} ${need.isUniform ? need.onBehalfOf : sorted(patterns).join("\n")}`;
  });
  for (const own of together.values()) {
    const patterns = new Set(own.flatMap((want) => [...want.patterns]));
    rules.push(ruleOf(own, patterns));
  }
  return rules;
}

/** What is done with each pattern alone: patterns with the same actions for the same people share a rule. */
function rulesOfSingles(wants: readonly Want[]): LearnedRule[] {
  const uses = wants.flatMap((want) => [...want.patterns].map((pattern) => ({ ...want, pattern })));
  const shared = new Map<string, { actions: number; uses: (typeof uses)[number][] }>();
  for (const own of groupBy(uses, ({ pattern }) => pattern).values()) {
    const byPerson = [...groupBy(own, ({ need }) => need.onBehalfOf).values()].map((ofOne) => ({
      actions: ofOne.reduce((all, { need }) => all | need.actions, 0),
      uses: ofOne,
    }));
    for (const [actions, alike] of groupBy(byPerson, (each) => each.actions)) {
      const people = alike.flatMap((each) => each.uses);
      const key = `${actions} ${JSON.stringify(sorted(people.map(({ need }) => need.onBehalfOf)))}`;
      const group = shared.get(key) ?? { actions, uses: [] };
      group.uses.push(...people);
      shared.set(key, group);
    }
  }
  return [...shared.values()].map((group) => ruleOf(group.uses, new Set(group.uses.map(({ pattern }) => pattern))));
}

function ruleOf(wants: readonly Want[], patterns: ReadonlySet<string>): LearnedRule {
  const needs = [...new Set(wants.map(({ need }) => need))];
  const [first] = needs;
  if (first === undefined) {
    throw new TypeError("a rule for nothing");
  }
  return {
    who: first.who,
    onBehalfOf: peopleOf(needs),
    actions: needs.reduce((all, { actions }) => all | actions, 0),
    patterns,
    isMixed: needs.some(({ isUniform }) => !isUniform),
    tally: { records: 0, failed: 0 },
  };
}

function peopleOf(needs: readonly Need[]): OnBehalfOf {
  const people = new Set(needs.map(({ onBehalfOf }) => onBehalfOf));
  if (people.size <= MOST_NAMED) {
    return people;
  }
  return people.has("") ? "any" : "some";
}

function allows(rule: LearnedRule, { onBehalfOf, actions }: Need, patterns: ReadonlySet<string>): boolean {
  return (
    (actions & ~rule.actions) === 0 &&
    coversPeople(rule.onBehalfOf, new Set([onBehalfOf])) &&
    isSubset(patterns, rule.patterns)
  );
}

/** One that allows nothing more than another goes. */
function withoutCovered(rules: readonly LearnedRule[]): LearnedRule[] {
  const kept: LearnedRule[] = [];
  const bySize = rules.toSorted((a, b) => b.patterns.size - a.patterns.size || compareRules(a, b));
  for (const rule of bySize.toSorted((a, b) => bitCount(b.actions) - bitCount(a.actions))) {
    if (!kept.some((other) => coversRule(other, rule))) {
      for (const narrower of kept.filter((other) => coversRule(rule, other))) {
        kept.splice(kept.indexOf(narrower), 1);
      }
      kept.push(rule);
    }
  }
  return kept;
}

/** Each action counts for the first rule that allows it. */
function counted(rules: readonly LearnedRule[], wants: readonly Want[]): readonly LearnedRule[] {
  for (const { need, patterns } of wants) {
    const rule = rules.find((each) => allows(each, need, patterns));
    if (rule !== undefined) {
      add(rule.tally, need.tally);
    }
  }
  return rules;
}

function coversRule(a: LearnedRule, b: LearnedRule): boolean {
  return (b.actions & ~a.actions) === 0 && coversPeople(a.onBehalfOf, b.onBehalfOf) && isSubset(b.patterns, a.patterns);
}

function coversPeople(a: OnBehalfOf, b: OnBehalfOf): boolean {
  if (a === "any" || a === b) {
    return true;
  }
  if (typeof b === "string") {
    return false;
  }
  return a === "some" ? !b.has("") : isSubset(b, a);
}

/** The patterns of all rules, and how much each stands for. */
class PatternBook {
  readonly patterns = new Map<string, LearnedPattern & { readonly own: Set<string>; items: number }>();

  /** The patterns for what one action needs. */
  add({ items, tally }: Need, general: ReadonlyMap<string, string>): ReadonlySet<string> {
    const texts = new Set<string>();
    for (const item of items) {
      const { kind, base, builtin, pattern } = item;
      const text = general.get(itemKey(item)) ?? item.pattern;
      const key = `${kind} ${text}`;
      let known = this.patterns.get(key);
      if (known === undefined) {
        known = { text, kind, base, builtin, items: 0, tally: { records: 0, failed: 0 }, own: new Set() };
        this.patterns.set(key, known);
      }
      known.own.add(pattern);
      known.items = known.own.size;
      if (!texts.has(key)) {
        add(known.tally, tally);
      }
      texts.add(key);
    }
    return texts;
  }
}

function touchesSecrets({ items }: Need): boolean {
  return items.some(({ builtin }) => builtin === "@secrets");
}

function compareRules(a: LearnedRule, b: LearnedRule): number {
  return compareText(a.who.key, b.who.key) || a.actions - b.actions || compareText(contents(a), contents(b));
}

function contents({ patterns, onBehalfOf }: LearnedRule): string {
  return JSON.stringify([sorted(patterns), typeof onBehalfOf === "string" ? onBehalfOf : sorted(onBehalfOf)]);
}

function add(tally: Tally, more: Tally): void {
  tally.records += more.records;
  tally.failed += more.failed;
}

function bitCount(bits: number): number {
  return bits.toString(2).replaceAll("0", "").length;
}
