import { AUDIT_ACTIONS_BY_DANGER } from "@otel-audit/semantic-conventions";
import { actionNames } from "./actions.ts";
import { compareText, sorted } from "./collections.ts";
import { commentText, yamlText } from "./escape.ts";
import { nameText, type SeenAction, type Tally } from "./need.ts";
import { NO_SECRETS, type NamedPolicy, type NamedResource, type NamedRule } from "./names.ts";
import type { LearnedRule, OnBehalfOf } from "./rules.ts";

/** Not learned, and why. */
export interface Unlearned {
  readonly action: SeenAction["action"];
  readonly count: number;
  readonly why: string;
}

/** Everything that stands in the document. */
export interface Document {
  readonly id: string;
  readonly default: "deny" | "review";
  readonly policy: NamedPolicy;
  /** Patterns of the agents that touched credentials; undefined: no wildcard is about files. */
  readonly secretsFor: readonly string[] | undefined;
  /** All that was learned. */
  readonly tally: Tally;
  readonly unlearned: readonly Unlearned[];
}

const WIDTH = 120;
/** Named one by one in a comment; the rest is counted. */
const MOST_LISTED = 20;
const ALL_ACTIONS = (1 << AUDIT_ACTIONS_BY_DANGER.length) - 1;

/** The YAML text; the same document gives the same bytes. */
export function render(document: Document): string {
  const { policy, secretsFor } = document;
  const rules = [...policy.rules.flatMap(ruleLines), ...(secretsFor === undefined ? [] : noSecrets(secretsFor))];
  return [
    ...head(document),
    `policy: ${yamlText(document.id)}`,
    "mode: observe",
    `default: ${document.default}`,
    "",
    ...section("resources", policy.resources.flatMap(resourceLines), "{}"),
    "",
    ...section("rules", rules, "[]"),
    ...unlearnedLines(document.unlearned),
    "",
  ].join("\n");
}

function head({ default: otherwise, tally }: Document): string[] {
  return [
    `# Learned by otel-audit from ${records(tally)}: what was seen is allowed, all else is ${otherwise === "deny" ? "denied" : "to be reviewed"}.`,
    "# What was tried counts as seen, also where it failed. What was denied or stopped is not learned.",
    "#",
    "# Read it, cut what should not be. It only observes: what it would stop goes on, and stands on record as denied or",
    "# to be reviewed. Try it on what was recorded since (otel-audit policy test --trail 7d --policy FILE), then write",
    "# `mode: enforce`.",
  ];
}

function section(key: string, lines: readonly string[], empty: string): string[] {
  return lines.length === 0 ? [`${key}: ${empty}`] : [`${key}:`, ...lines];
}

function resourceLines({ name, patterns }: NamedResource): string[] {
  const [first] = patterns;
  if (first === undefined) {
    return [];
  }
  const comments = [resourceComment(patterns)];
  if (first.builtin !== undefined) {
    comments.push(`${first.builtin}: each is named alone, never by a wildcard. Does the agent need it?`);
  }
  const texts = patterns.map(({ text }) => yamlText(text));
  const kind = first.kind;
  const line = `  ${yamlText(name)}: { ${kind}: ${flow(texts)} }`;
  return [
    ...comments.map((text) => `  # ${text}`),
    ...(line.length <= WIDTH
      ? [line]
      : [`  ${yamlText(name)}:`, `    ${kind}:`, ...texts.map((text) => `      - ${text}`)]),
  ];
}

function resourceComment(patterns: NamedResource["patterns"]): string {
  const all = patterns.reduce((sum, { tally }) => sum + tally.records, 0);
  const items = patterns.reduce((sum, each) => sum + each.items, 0);
  const isSame = items === patterns.length;
  return `${count(all, "record")}${isSame ? "" : ` of ${items} different targets`}`;
}

function ruleLines({ id, rule, resources }: NamedRule): string[] {
  const fields = [`agent: ${yamlText(rule.who.agent)}`];
  if (rule.who.agent === "none") {
    fields[0] = "agent: none";
  }
  if (rule.who.actorType !== undefined) {
    fields.push(`actor_type: ${rule.who.actorType}`);
  }
  const people = peopleText(rule.onBehalfOf);
  if (people !== undefined) {
    fields.push(`on_behalf_of: ${people}`);
  }
  if (rule.actions !== ALL_ACTIONS) {
    fields.push(`action: ${flow(actionNames(rule.actions))}`);
  }
  fields.push(`resource: ${flow(resources.map(yamlText))}`);
  return entry(ruleComment(rule), id, "allow", fields);
}

function ruleComment({ tally, onBehalfOf, isMixed, patterns }: LearnedRule): string {
  const failed = tally.failed === 0 ? "" : `, ${tally.failed} of them failed`;
  const people = typeof onBehalfOf === "string" ? "; too many people and services to name each" : "";
  const mixed =
    isMixed && patterns.size > 1 ? "; one action on several things: a rule cannot say which it may only read" : "";
  return `${records(tally)}${failed}${people}${mixed}`;
}

function peopleText(onBehalfOf: OnBehalfOf): string | undefined {
  if (typeof onBehalfOf === "string") {
    return onBehalfOf === "some" ? "{ not: none }" : undefined;
  }
  return flow(sorted(onBehalfOf).map((id) => (id === "" ? "none" : yamlText(nameText(id)))));
}

/** The wildcards of the document end where credentials begin. */
function noSecrets(except: readonly string[]): string[] {
  const fields = except.length === 0 ? [] : [`agent: { not: ${flow(except.map(yamlText))} }`];
  return entry("no record: keeps the wildcards above from credentials", NO_SECRETS, "deny", [
    ...fields,
    'resource: "@secrets"',
  ]);
}

function entry(comment: string, id: string, decision: string, fields: readonly string[]): string[] {
  const line = `  - { id: ${yamlText(id)}, ${decision}: { ${fields.join(", ")} } }`;
  return [
    `  # ${comment}`,
    ...(line.length <= WIDTH
      ? [line]
      : [`  - id: ${yamlText(id)}`, `    ${decision}:`, ...fields.map((field) => `      ${field}`)]),
  ];
}

function flow(texts: readonly string[]): string {
  const [first = ""] = texts;
  return texts.length === 1 ? first : `[${texts.join(", ")}]`;
}

function unlearnedLines(unlearned: readonly Unlearned[]): string[] {
  if (unlearned.length === 0) {
    return [];
  }
  const lines = unlearned
    .map(({ action, count: times, why }) => {
      const target = action.targets.map(({ id }) => id.slice(0, 200)).join(" and ") || "nothing";
      const who = action.actorId || "nobody";
      return { times, text: `${who.slice(0, 100)}: ${action.action} ${target.slice(0, 300)}: ${why.slice(0, 200)}` };
    })
    .toSorted((a, b) => b.times - a.times || compareText(a.text, b.text));
  const more = lines.length > MOST_LISTED ? [`#   and ${lines.length - MOST_LISTED} more`] : [];
  return [
    "",
    "# Not learned:",
    ...lines
      .slice(0, MOST_LISTED)
      .map(({ times, text }) => `#   ${commentText(`${text} (${count(times, "record")})`)}`),
    ...more,
  ];
}

function records(tally: Tally): string {
  return count(tally.records, "record");
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? "" : "s"}`;
}
