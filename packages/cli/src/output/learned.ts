import type { LearnedPolicy } from "@otel-audit/policy/learn";
import { printable } from "./text.ts";

/** What became of what was seen, on one line. */
export function learnedLine({ policy, records, unlearned }: LearnedPolicy, file: string | undefined): string {
  const rules = policy.ruleIds.length;
  const left = unlearned.reduce((sum, { count }) => sum + count, 0);
  const text = `${count(rules, "rule")} learned from ${count(records, "record")}`;
  const rest = left === 0 ? "" : `; ${count(left, "record")} not learned, see the end of it`;
  return `${text}${file === undefined ? "" : `, in ${printable(file)}`}${rest}`;
}

function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? "" : "s"}`;
}
