import {
  AUDIT_ACTIONS_BY_DANGER,
  AUDIT_OUTCOME_VALUES,
  AUDIT_POLICY_DECISION_VALUES,
} from "@otel-audit/semantic-conventions";
import { CliError } from "../errors.ts";
import { parseTime } from "./time.ts";

/** Which records; every part is ANDed. In `agent`, `target` and `workflow` a `*` stands for any characters. */
export interface RecordFilter {
  /** Id or name of an agent; `unattributed` for records of nobody. */
  readonly agent?: string;
  /** Id of any resource that the action touched, or the policy's name of it. */
  readonly target?: string;
  /** One or several of the actions, with commas; so too `decision` and `outcome`. */
  readonly action?: string;
  readonly decision?: string;
  readonly outcome?: string;
  /** Name (kind of work) or id (one run) of a workflow. */
  readonly workflow?: string;
  readonly trace?: string;
  /** ISO 8601 time, or how long ago: `90s`, `15m`, `2h`, `14d`. Records at or after it. */
  readonly from?: string;
  /** The same under another name, which errors then use: `--last 7d`, `--trail 7d`. */
  readonly last?: string;
  readonly trail?: string;
  /** Records before it. */
  readonly to?: string;
  /** Records that the collector received at or after this time, whatever the producer's clock says. */
  readonly receivedFrom?: string;
}

/** Conditions in SQL with the values bound beside them, all of them as `{name:String}`. */
interface Conditions {
  readonly sql: string;
  readonly params: Readonly<Record<string, string>>;
}

/**
 * What a filter's words may be. A closed set: they are few, and a typing error would look like "nothing happened".
 */
const WORDS = {
  action: AUDIT_ACTIONS_BY_DANGER,
  decision: AUDIT_POLICY_DECISION_VALUES,
  outcome: AUDIT_OUTCOME_VALUES,
} as const satisfies Readonly<Record<string, readonly string[]>>;

/** What the table shows for a record without an agent. */
export const UNATTRIBUTED = "unattributed";

/**
 * The WHERE clause of a filter.
 *
 * @throws CliError `USAGE` naming the option and its value
 */
export function conditions(filter: RecordFilter, now = Date.now()): Conditions {
  const where = new Where();
  where.text("agent", filter.agent, (is) => [
    is("ActorId"),
    // A sender's own word: beside an id that was verified it would be another agent's name.
    `(${is("AgentName")} AND Provenance != 'verified')`,
    // As in policies: `agent:refunds` and `refunds` are the same agent.
    is("if(startsWith(ActorId, 'agent:'), substring(ActorId, 7), ActorId)"),
    ...(filter.agent === UNATTRIBUTED ? [`Provenance = '${UNATTRIBUTED}'`] : []),
  ]);
  where.text("target", filter.target, (is) => [
    is("TargetId"),
    is("TargetName"),
    // A join reads several tables, a rename touches two files: the first of them only is TargetId.
    `arrayExists(target -> ${is("target")}, ReadTargets)`,
    `arrayExists(target -> ${is("target")}, WriteTargets)`,
  ]);
  where.text("workflow", filter.workflow, (is) => [is("WorkflowName"), is("WorkflowId")]);
  where.words("action", filter.action, "Action");
  where.words("decision", filter.decision, "EffectiveDecision");
  where.words("outcome", filter.outcome, "Outcome");
  where.trace(filter.trace);
  const since = (["from", "last", "trail"] as const).find((name) => filter[name] !== undefined) ?? "from";
  const from = where.time(since, filter[since], "Timestamp", ">=", now);
  const to = where.time("to", filter.to, "Timestamp", "<", now);
  where.time("receivedFrom", filter.receivedFrom, "ReceivedAt", ">=", now);
  if (from !== undefined && to !== undefined && from >= to) {
    throw new CliError("USAGE", `--${since}: "${filter[since]}" is not before --to "${filter.to}"; nothing can match`);
  }
  return where.conditions();
}

/** Collects conditions. Values never become part of the SQL, only names of ours do. */
class Where {
  readonly #parts: string[] = [];
  readonly #params: Record<string, string> = {};

  text(name: string, value: string | undefined, any: (is: (column: string) => string) => readonly string[]): void {
    if (value === undefined) return;
    if (value === "" || value.includes("\0")) {
      throw new CliError("USAGE", `--${name}: ${JSON.stringify(value)} is not a name; * stands for any characters`);
    }
    const isGlob = value.includes("*");
    const parameter = this.#bind(name, isGlob ? likePattern(value) : value);
    this.#parts.push(any((column) => `${column} ${isGlob ? "LIKE" : "="} ${parameter}`).join(" OR "));
  }

  words(name: keyof typeof WORDS, value: string | undefined, column: string): void {
    if (value === undefined) return;
    const known: readonly string[] = WORDS[name];
    const wanted = value.split(",").map((word) => {
      const found = known.find((candidate) => candidate.toLowerCase() === word.trim().toLowerCase());
      if (found === undefined)
        throw new CliError("USAGE", `--${name}: "${word.trim()}" is not one of ${known.join(", ")}`);
      return found;
    });
    const parameters = [...new Set(wanted)].map((word, i) => this.#bind(`${name}${i}`, word));
    this.#parts.push(`${column} IN (${parameters.join(", ")})`);
  }

  trace(value: string | undefined): void {
    if (value === undefined) return;
    if (!/^[0-9a-f]{32}$/i.test(value)) {
      throw new CliError("USAGE", `--trace: "${value}" is not a trace id, which has 32 hexadecimal digits`);
    }
    this.#parts.push(`TraceId = ${this.#bind("trace", value.toLowerCase())}`);
  }

  /** The time as it is bound, for comparison with others. */
  time(name: string, value: string | undefined, column: string, operator: string, now: number): string | undefined {
    if (value === undefined) return undefined;
    const time = parseTime(`--${name}`, value, now);
    this.#parts.push(`${column} ${operator} toDateTime64(${this.#bind(name, time)}, 9, 'UTC')`);
    return time;
  }

  conditions(): Conditions {
    const sql = this.#parts.map((part) => `(${part})`).join("\n    AND ");
    return { sql: sql === "" ? "1" : sql, params: this.#params };
  }

  #bind(name: string, value: string): string {
    this.#params[name] = value;
    return `{${name}:String}`;
  }
}

function likePattern(glob: string): string {
  return glob.replaceAll(/[\\%_]/g, String.raw`\$&`).replaceAll(/\*+/g, "%");
}
