import type { Policy } from "@otel-audit/policy";
import { CliError, ExitCode } from "../errors.ts";
import { replayReport } from "../output/replay.ts";
import { print, tell } from "../output/stdout.ts";
import { safeJson } from "../output/text.ts";
import { checkFilter, recordedActions } from "../records/actions.ts";
import type { RecordFilter } from "../records/filter.ts";
import { databaseName } from "../records/query.ts";
import { replay } from "../records/replay.ts";
import type { RecordSource, SourceOptions } from "../records/source.ts";
import { readPolicy } from "../run/policy-file.ts";
import { printReport } from "./policy-report.ts";

export interface TrailOptions extends RecordFilter, SourceOptions {
  readonly trail: string;
  readonly policy?: string;
  readonly strict?: true;
  readonly json?: true;
}

/** Judges what is on record by a policy, and says what would change. */
export async function testTrail(options: TrailOptions): Promise<number> {
  checkFilter(options, options.database);
  const given = options.policy === undefined ? undefined : await readPolicy("--policy", options.policy);
  const { RecordSource } = await import("../records/source.ts");
  const source = await RecordSource.open(options);
  try {
    if (source.notice !== undefined) tell(`otel-audit: ${source.notice}`);
    const policy = given ?? (await policyOnRecord(source));
    const file = options.policy ?? ON_RECORD;
    const result = await replay(recordedActions(source, options, "judge"), policy);
    if (result.records === 0) {
      throw new CliError(
        "NO_DATA",
        `--trail: there are no records since "${options.trail}" that fit; nothing was tested`,
      );
    }
    const passed = result.newlyDenied === 0 && (!options.strict || result.newlyReviewed === 0);
    const { id, version, mode } = policy;
    if (options.json) await print(`${safeJson({ ok: passed, file, policy: { id, version, mode }, ...result }, 2)}\n`);
    else await printReport(replayReport(file, policy, result), passed);
    return passed ? ExitCode.Ok : ExitCode.No;
  } finally {
    await source.close();
  }
}

/** In place of a file's name. */
const ON_RECORD = "the policy on record";

/** The policy that came into force last, by the record of that. */
async function policyOnRecord(source: RecordSource): Promise<Policy> {
  const { Policy, PolicyError } = await import("@otel-audit/policy");
  const { ATTR_AUDIT_POLICY_DOCUMENT, EVENT_POLICY_LOADED } = await import("@otel-audit/semantic-conventions");
  const document = `SpanAttributes['${ATTR_AUDIT_POLICY_DOCUMENT}']`;
  const [row] = await Array.fromAsync(
    source.rows<{ Document: string }>({
      sql: [
        `SELECT ${document} AS Document FROM ${databaseName(source.database)}.audit_events`,
        `WHERE EventName = '${EVENT_POLICY_LOADED}' AND Document != ''`,
        "ORDER BY ReceivedAt DESC, StreamId DESC, Sequence DESC LIMIT 1",
      ].join("\n"),
      params: {},
    }),
  );
  if (row === undefined) {
    throw new CliError("USAGE", "--policy: no policy is on record either; give one with --policy FILE");
  }
  try {
    return Policy.parse(row.Document, { file: ON_RECORD });
  } catch (cause) {
    if (!(cause instanceof PolicyError)) throw cause;
    throw new CliError("USAGE", `--policy: the policy on record cannot be used, give one; ${cause.message}`, { cause });
  }
}
