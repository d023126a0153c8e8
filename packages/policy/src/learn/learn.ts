import { PolicyError } from "../error.ts";
import { Policy } from "../policy.ts";
import { sorted } from "./collections.ts";
import { NotLearnable, readNeed, type Need, type SeenAction } from "./need.ts";
import { isWild, nameAll } from "./names.ts";
import { render, type Unlearned } from "./render.ts";
import { formRules, type Learned } from "./rules.ts";

export interface LearnOptions {
  /** The document's `policy`. Default `learned`. */
  readonly id?: string | undefined;
  /** What the policy says to all that was not seen. Default `deny`. */
  readonly default?: "deny" | "review" | undefined;
}

/** A policy that was written from what was seen. */
export interface LearnedPolicy {
  /** YAML. The same actions give the same text, in whatever order they come. */
  readonly text: string;
  readonly policy: Policy;
  /** Records that its rules stand for. */
  readonly records: number;
  /** What is not in it, with the reason. */
  readonly unlearned: readonly Unlearned[];
}

/** More patterns than this below one folder are one; the lower numbers are tried when the document becomes too large. */
const MOST_BELOW = [32, 8, 2, 1];

/**
 * Writes the policy that allows what was seen and, but for wildcards where siblings repeat, nothing else.
 *
 * @throws PolicyError `TOO_LARGE` when it would be larger than a policy may be, `INVALID_VALUE` for an id that is none
 */
export function learnPolicy(seen: Iterable<SeenAction>, options: LearnOptions = {}): LearnedPolicy {
  const { needs, unlearned } = readAll(seen);
  let tooLarge: PolicyError | undefined;
  for (const most of MOST_BELOW) {
    try {
      return write(needs, unlearned, most, options);
    } catch (error) {
      if (!(error instanceof PolicyError) || error.code !== "TOO_LARGE") {
        throw error;
      }
      tooLarge = error;
    }
  }
  const message =
    "too many different things were seen for one policy; learn from less (one agent, one workflow, a day)";
  const issue = { code: "TOO_LARGE", line: 1, column: 1, path: "", message } as const;
  throw new PolicyError("learned policy", [issue], { cause: tooLarge });
}

/** An action that was seen, and what it needs. */
interface Readable {
  readonly seen: SeenAction;
  readonly need: Need;
}

function readAll(all: Iterable<SeenAction>): { needs: Readable[]; unlearned: Unlearned[] } {
  const needs: Readable[] = [];
  const unlearned: Unlearned[] = [];
  for (const seen of all) {
    try {
      if (seen.refused !== undefined) {
        throw new NotLearnable(seen.refused);
      }
      needs.push({ seen, need: readNeed(seen) });
    } catch (error) {
      if (!(error instanceof NotLearnable)) {
        throw error;
      }
      unlearned.push({ action: seen.action, count: seen.count, why: error.message });
    }
  }
  return { needs, unlearned };
}

function write(
  all: readonly Readable[],
  refused: readonly Unlearned[],
  most: number,
  options: LearnOptions,
): LearnedPolicy {
  let readable = all;
  const unlearned = [...refused];
  for (;;) {
    const text = writeText(
      readable.map(({ need }) => need),
      unlearned,
      most,
      options,
    );
    const policy = Policy.parse(text, { file: "learned policy" });
    // What the language cannot say is found by asking: the document never claims more than it does.
    const failed = new Set(readable.filter(({ seen }) => policy.evaluate(seen.action).decision !== "allow"));
    if (failed.size === 0) {
      return { text, policy, records: readable.reduce((sum, { seen }) => sum + seen.count, 0), unlearned };
    }
    readable = readable.filter((each) => !failed.has(each));
    for (const { seen } of failed) {
      unlearned.push({ action: seen.action, count: seen.count, why: "no rule can allow it alone" });
    }
  }
}

function writeText(
  needs: readonly Need[],
  unlearned: readonly Unlearned[],
  most: number,
  { id = "learned", default: otherwise = "deny" }: LearnOptions,
): string {
  const learned = formRules(needs, most);
  return render({
    id,
    default: otherwise,
    policy: nameAll(learned),
    secretsFor: secretsFor(learned),
    tally: {
      records: needs.reduce((sum, { tally }) => sum + tally.records, 0),
      failed: needs.reduce((sum, { tally }) => sum + tally.failed, 0),
    },
    unlearned,
  });
}

/** Whom a deny of all credentials must not stop; undefined where no wildcard could reach one. */
function secretsFor({ rules, patterns, careful }: Learned): string[] | undefined {
  const isNeeded = [...patterns.values()].some(({ kind, text }) => kind === "file" && isWild(text));
  if (!isNeeded) {
    return undefined;
  }
  const agents = sorted(rules.flatMap(({ who }) => (careful.has(who.name) ? [who.agent] : [])));
  // A pattern without `agent:` takes the agent too.
  return agents.filter((each) => !each.startsWith("agent:") || !agents.includes(each.slice("agent:".length)));
}
