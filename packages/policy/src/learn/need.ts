import { actionBit } from "./actions.ts";
import { builtinName } from "../builtin.ts";
import { GlobSyntaxError } from "../glob-syntax.ts";
import { withoutAgentPrefix } from "../facts.ts";
import { AGENT_PREFIX, compileNamePatterns, compileResourcePattern } from "../pattern.ts";
import { Policy } from "../policy.ts";
import type { ResourceKind } from "../resource-kind.ts";
import { readTarget, type Reading } from "../target.ts";
import type { PolicyAction, PolicyTarget } from "../types.ts";
import { escapeGlob, escapeHost } from "./escape.ts";

/** One action of a trail, and how often it was seen. */
export interface SeenAction {
  /** As the enforcement point saw it: before a resource's `action:` changed it. */
  readonly action: PolicyAction;
  readonly count: number;
  /** So many of these failed. */
  readonly failed?: number | undefined;
  /** Why this is not to be learned, for example the rule that denied it. Undefined: learn it. */
  readonly refused?: string | undefined;
}

/** Records that something stands for. */
export interface Tally {
  records: number;
  failed: number;
}

/** Who acts, as one rule names it. */
export interface Who {
  readonly key: string;
  /** For people and for rule ids. */
  readonly name: string;
  /** The pattern of the rule's `agent`. */
  readonly agent: string;
  /** The rule's `actor_type`; undefined: agents, or nobody. */
  readonly actorType: string | undefined;
}

/** A thing that was touched. */
export interface Item {
  readonly kind: ResourceKind;
  /** The pattern that takes this alone; a directory that was taken with everything in it ends with `/**`. */
  readonly pattern: string;
  /** `https://host` of an address; empty for files. */
  readonly base: string;
  /** Escaped segments below the base; undefined where a wildcard would not be safe. */
  readonly segments: readonly string[] | undefined;
  /** `@secrets` or `@metadata`: named one by one. */
  readonly builtin: string | undefined;
}

/** The last segment of a directory with everything in it. */
export const ALL_BELOW = "**";

/** What one action needs to be allowed. */
export interface Need {
  readonly who: Who;
  /** Empty: on behalf of nobody. */
  readonly onBehalfOf: string;
  /** Actions as bits by danger. */
  readonly actions: number;
  readonly items: readonly Item[];
  /** Each item needs all of the actions, so that one alone is no more than what was seen. */
  readonly isUniform: boolean;
  readonly tally: Tally;
}

/** The action cannot be written as a rule. */
export class NotLearnable extends Error {
  override readonly name = "NotLearnable";
}

/** Throws {@link NotLearnable}. */
export function readNeed({ action, count, failed = 0 }: SeenAction): Need {
  const verdict = anything().evaluate(action);
  if (verdict.ruleId === "policy_error") {
    throw new NotLearnable(verdict.reason.replace("the policy could not be evaluated: ", ""));
  }
  if (action.targets.length === 0) {
    throw new NotLearnable("it has no target, and a rule for it would allow all that belongs to no resource");
  }
  const masks = action.targets.map((target) => neededBits(action, target));
  const whole = actionBit(action.action);
  const actions = masks.reduce((all, mask) => all | mask, whole);
  const onBehalfOf = action.onBehalfOf ?? "";
  checked(`on behalf of ${JSON.stringify(onBehalfOf.slice(0, 80))}`, () =>
    onBehalfOf === "" ? [] : compileNamePatterns(nameText(onBehalfOf), false),
  );
  return {
    who: readWho(action),
    onBehalfOf,
    actions,
    items: distinctItems(action.targets.map(readItem)),
    isUniform: masks.every((mask) => mask === actions),
    tally: { records: count, failed },
  };
}

let everything: Policy | undefined;

/** A policy that has an opinion on whatever can be judged at all. */
function anything(): Policy {
  return (everything ??= Policy.parse("policy: anything\nmode: observe\ndefault: allow\n"));
}

/** The actions that a target needs; the same as `Facts` asks for without a resource's `action:`. */
function neededBits({ action }: PolicyAction, { access }: PolicyTarget): number {
  const whole = actionBit(action);
  if (access !== "read" || action === "READ") {
    return whole;
  }
  const read = actionBit("READ");
  return action === "EXECUTE" ? read | whole : read;
}

function readWho({ actorId, actorType }: PolicyAction): Who {
  if (actorId === "") {
    return { key: "", name: "nobody", agent: "none", actorType: undefined };
  }
  const name = withoutAgentPrefix(actorId);
  // As the rules see it: who has the prefix is an agent, whatever its type.
  const isAgent = actorType === "agent" || name !== actorId;
  const agent = isAgent ? `${AGENT_PREFIX}${escapeGlob(name)}` : nameText(actorId);
  checked(`the actor ${JSON.stringify(actorId.slice(0, 80))}`, () => compileNamePatterns(agent, true));
  return { key: `${isAgent ? "" : actorType} ${agent}`, name, agent, actorType: isAgent ? undefined : actorType };
}

/** A name as a rule writes it: the word for "absent" is a text here. */
export function nameText(name: string): string {
  return name === "none" ? String.raw`\none` : escapeGlob(name);
}

function readItem(target: PolicyTarget): Item {
  const reading = readTarget(target.type, target.id);
  const { kind } = reading;
  const [base, rest] = split(reading);
  const isTree = kind === "file" && target.recursive === true;
  const own = `${base}${escapeGlob(rest)}`;
  const pattern = isTree ? `${own.replace(/\/$/, "")}/${ALL_BELOW}` : own;
  checked(`the ${kind} ${JSON.stringify(reading.exact.slice(0, 80))}`, () => compileResourcePattern(kind, pattern));
  const builtin = builtinName(reading);
  const isSensitive = builtin === "@secrets" || builtin === "@metadata";
  return {
    kind,
    pattern,
    base: kind === "http" ? base : "",
    segments: isSensitive ? undefined : segmentsOf(reading, rest, isTree),
    builtin: isSensitive ? builtin : undefined,
  };
}

/** What stands in front of a pattern as it is, and the text behind it. */
function split({ kind, scheme, exact }: Reading): readonly [base: string, rest: string] {
  switch (kind) {
    case "http":
    case "db":
    case "socket": {
      const slash = exact.indexOf("/");
      const end = slash === -1 ? exact.length : slash;
      const prefix = scheme === "" ? "" : `${scheme}://`;
      return [`${prefix}${escapeHost(exact.slice(0, end))}`, exact.slice(end)];
    }
    case "tool":
    case "process":
      return [exact.startsWith(`${kind}:`) ? `${kind}:` : "", exact];
    case "file":
      return ["", exact];
    default:
      throw new NotLearnable(`unknown kind ${String(kind)}`);
  }
}

/** Only of folders and addresses that every server reads the same way; a wildcard could not stand for the others. */
function segmentsOf({ kind, exact, loose }: Reading, rest: string, isTree: boolean): readonly string[] | undefined {
  if ((kind !== "http" && kind !== "file") || exact.split("/").length !== loose.split("/").length) {
    return undefined;
  }
  const segments = rest.split("/").slice(1);
  if (segments.some((segment) => segment === "")) return undefined;
  return [...segments.map(escapeGlob), ...(isTree ? [ALL_BELOW] : [])];
}

/** Each thing once. */
export function distinctItems(items: readonly Item[]): readonly Item[] {
  return [...new Map(items.map((item) => [itemKey(item), item])).values()];
}

/** Different things have different keys. */
export function itemKey({ kind, pattern }: Item): string {
  return `${kind} ${pattern}`;
}

function checked(what: string, compile: () => unknown): void {
  try {
    compile();
  } catch (error) {
    if (error instanceof GlobSyntaxError) {
      throw new NotLearnable(`no pattern can name ${what}`, { cause: error });
    }
    throw error;
  }
}
