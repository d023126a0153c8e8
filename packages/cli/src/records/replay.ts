import type { Policy } from "@otel-audit/policy";
import { policyAction, type RecordedAction } from "./actions.ts";

/** What was said, or would be said, about an action. */
export interface Said {
  /** Empty: the record has no verdict. */
  readonly decision: string;
  readonly rule: string;
}

export interface ReplayExample {
  readonly agent: string;
  readonly action: string;
  readonly targets: readonly string[];
  readonly onBehalfOf: string;
  readonly records: number;
  /** Why the policy says so. */
  readonly reason: string;
}

/** Records whose decision would be another one, with the same rules before and after. */
export interface ReplayChange {
  readonly from: Said;
  readonly to: Said;
  readonly records: number;
  /** Those with the most records. */
  readonly examples: readonly ReplayExample[];
}

export interface Replay {
  readonly records: number;
  readonly unchanged: number;
  readonly changes: readonly ReplayChange[];
  /** Records that were allowed, or had no verdict, and would be denied. */
  readonly newlyDenied: number;
  /** … and would have to be reviewed. */
  readonly newlyReviewed: number;
}

const EXAMPLES = 3;
/** A producer may invent rule names; changes beyond these are told together. */
const MAX_CHANGES = 1000;

interface Change {
  from: Said;
  to: Said;
  records: number;
  examples: ReplayExample[];
}

/** Judges recorded actions again, one after the other: memory grows with the rules, not with the records. */
export async function replay(rows: AsyncIterable<RecordedAction>, policy: Policy): Promise<Replay> {
  const changes = new Map<string, Change>();
  const sums = { records: 0, unchanged: 0, newlyDenied: 0, newlyReviewed: 0 };
  for await (const row of rows) {
    const action = policyAction(row);
    const verdict = policy.evaluate(action);
    sums.records += row.Count;
    if (verdict.decision === row.Decision) {
      sums.unchanged += row.Count;
      continue;
    }
    const wasOpen = row.Decision === "allow" || row.Decision === "";
    if (wasOpen && verdict.decision === "deny") sums.newlyDenied += row.Count;
    if (wasOpen && verdict.decision === "review") sums.newlyReviewed += row.Count;
    const change = changeOf(changes, { decision: row.Decision, rule: row.Rule }, verdict.decision, verdict.ruleId);
    change.records += row.Count;
    addExample(change.examples, {
      agent: row.ActorId,
      action: row.CallAction,
      targets: [...new Set(action.targets.map(({ id }) => id))],
      onBehalfOf: row.OnBehalfOf,
      records: row.Count,
      reason: verdict.reason,
    });
  }
  return { ...sums, changes: [...changes.values()].toSorted(byImportance) };
}

function changeOf(changes: Map<string, Change>, from: Said, decision: string, rule: string): Change {
  const known = changes.size < MAX_CHANGES ? from : { ...from, rule: "…" };
  const key = JSON.stringify([known.decision, known.rule, decision, rule]);
  let change = changes.get(key);
  if (change === undefined) {
    change = { from: known, to: { decision, rule }, records: 0, examples: [] };
    changes.set(key, change);
  }
  return change;
}

/** Keeps those with the most records; the same ones in whatever order they come. */
function addExample(examples: ReplayExample[], example: ReplayExample): void {
  const last = examples.length < EXAMPLES ? undefined : examples.at(-1);
  if (last !== undefined && compareExamples(example, last) >= 0) return;
  examples.push(example);
  examples.sort(compareExamples);
  examples.length = Math.min(examples.length, EXAMPLES);
}

function compareExamples(a: ReplayExample, b: ReplayExample): number {
  return b.records - a.records || compareText(JSON.stringify(a), JSON.stringify(b));
}

const DANGER: readonly string[] = ["deny", "review", "allow"];

/** What would be stopped comes first. */
function byImportance(a: ReplayChange, b: ReplayChange): number {
  return (
    DANGER.indexOf(a.to.decision) - DANGER.indexOf(b.to.decision) ||
    b.records - a.records ||
    compareText(JSON.stringify([a.from, a.to]), JSON.stringify([b.from, b.to]))
  );
}

/** The same on every machine, unlike localeCompare. */
function compareText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
