import type { Replay, ReplayChange, ReplayExample, Said } from "../records/replay.ts";
import { printable } from "./text.ts";

/** What would change, and a last line that sums up. */
export function replayReport(file: string, policy: { id: string; mode: string }, replay: Replay): string[] {
  const { records, unchanged, changes, newlyDenied, newlyReviewed } = replay;
  const changed = records - unchanged;
  const sum = [
    `${count(records, "record")}, ${changed === 0 ? "none" : changed} would change`,
    ...(newlyDenied === 0 ? [] : [`${newlyDenied} that passed would be denied`]),
    ...(newlyReviewed === 0 ? [] : [`${newlyReviewed} that passed would be reviewed`]),
  ];
  return [...changes.flatMap(changeLines), `${file}: policy "${policy.id}", mode ${policy.mode}: ${sum.join("; ")}`];
}

function changeLines({ from, to, records, examples }: ReplayChange): string[] {
  const shown = examples.reduce((sum, example) => sum + example.records, 0);
  return [
    `  ${said(from)} -> ${said(to)}: ${count(records, "record")}`,
    ...examples.map((example) => `      ${exampleText(example)}`),
    ...(shown < records ? [`      and ${records - shown} more`] : []),
  ];
}

function said({ decision, rule }: Said): string {
  // A record's words are its producer's: a line end in them must not look like a line of ours.
  return decision === "" ? "no verdict" : printable(`${decision} (${rule})`);
}

function exampleText({ agent, action, targets, onBehalfOf, records }: ReplayExample): string {
  const who = onBehalfOf === "" ? agent || "nobody" : `${agent || "nobody"} for ${onBehalfOf}`;
  const times = records === 1 ? "" : `, ${records} times`;
  return `${printable(`${who}: ${action} ${targets.join(" and ") || "nothing"}`)}${times}`;
}

function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? "" : "s"}`;
}
