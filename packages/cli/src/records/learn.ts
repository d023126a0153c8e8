import type { LearnedPolicy, LearnOptions, SeenAction } from "@otel-audit/policy/learn";
import { CliError } from "../errors.ts";
import { policyAction, recordedActions, type RecordedAction } from "./actions.ts";
import type { RecordFilter } from "./filter.ts";
import type { RecordSource } from "./source.ts";

/** Different actions that are looked at together; a readable policy comes from far fewer. */
const MAX_ACTIONS = 200_000;

/**
 * The policy that would have allowed what is on record.
 *
 * @throws CliError `FAILED` when there is too much for one policy
 */
export async function learnFrom(
  source: RecordSource,
  filter: RecordFilter,
  options: LearnOptions = {},
): Promise<LearnedPolicy> {
  const { PolicyError } = await import("@otel-audit/policy");
  const { learnPolicy } = await import("@otel-audit/policy/learn");
  const seen: SeenAction[] = [];
  for await (const row of recordedActions(source, filter, "learn")) {
    if (seen.length === MAX_ACTIONS) {
      throw new CliError(
        "FAILED",
        `there are more than ${MAX_ACTIONS} different actions, too many for one policy; ${NARROW}`,
      );
    }
    seen.push({ action: policyAction(row), count: row.Count, failed: row.Failed, refused: refusal(row) });
  }
  try {
    return learnPolicy(seen, options);
  } catch (cause) {
    if (!(cause instanceof PolicyError)) throw cause;
    const what =
      cause.code === "TOO_LARGE" ? `${cause.issues[0]?.message}: ${NARROW}` : `--id: ${cause.issues[0]?.message}`;
    throw new CliError(cause.code === "TOO_LARGE" ? "FAILED" : "USAGE", what, { cause });
  }
}

const NARROW = "--agent, --workflow and --last take a part of them";

/** A review that let it pass is no refusal. */
function refusal({ Decision, Rule, Stopped }: RecordedAction): string | undefined {
  if (Decision === "deny") return Rule === "default" ? "no rule allowed it" : `rule ${Rule} denied it`;
  return Stopped ? `stopped by ${Rule === "default" ? "the default" : `rule ${Rule}`}` : undefined;
}
