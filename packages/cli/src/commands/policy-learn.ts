import { Command, Option } from "commander";
import { CliError, ExitCode } from "../errors.ts";
import { learnedLine } from "../output/learned.ts";
import { print, tell } from "../output/stdout.ts";
import { safeJson } from "../output/text.ts";
import { checkFilter } from "../records/actions.ts";
import type { RecordFilter } from "../records/filter.ts";
import { learnFrom } from "../records/learn.ts";
import type { SourceOptions } from "../records/source.ts";
import { checkNewFile, writePolicy } from "../run/policy-file.ts";
import { filterOptions, sourceOptions } from "./options.ts";

interface LearnCommandOptions extends RecordFilter, SourceOptions {
  readonly output?: string;
  readonly id: string;
  readonly default: "deny" | "review";
  readonly json?: true;
}

const HELP = `
What was tried counts as seen, also where it failed or its end is unknown. What a policy denied, observed or enforced,
and what was stopped is not learned; it stands in a comment. A review that let it pass is learned as an allow.

Paths and addresses share a wildcard where three siblings repeat (folder/*.md, folder/*); numbers, UUIDs and other ids
in an address are *. Hosts, tables, tools, programs, credentials (@secrets, @metadata) and the people on whose behalf it
was done are named one by one (above 20 people: anybody, but not nobody). The same records give the same bytes.

The policy only observes. Test it on later records (otel-audit policy test --trail), then write \`mode: enforce\`.

Exit code: 0 it is written; 2 wrong use, nothing to learn from, or it did not work.

Examples:
  otel-audit policy learn --last 7d > policy.yaml
  otel-audit policy learn --agent support --workflow refund --id support --output support.yaml`;

export function learnCommand(): Command {
  const command = new Command("learn").description(
    "Write the least-privilege policy that would have allowed what is on record",
  );
  filterOptions(command)
    .option("--output <file>", "a new file; default: standard output")
    .option("--id <name>", "the policy's name", "learned")
    .addOption(new Option("--default <decision>", "for what was not seen").choices(["deny", "review"]).default("deny"))
    .option("--json", "for machines");
  return sourceOptions(command)
    .addHelpText("after", HELP)
    .action(async (options: LearnCommandOptions) => {
      await learn(options);
      process.exitCode = ExitCode.Ok;
    });
}

async function learn(options: LearnCommandOptions): Promise<void> {
  checkFilter(options, options.database);
  if (options.output !== undefined) await checkNewFile("--output", options.output);
  const { RecordSource } = await import("../records/source.ts");
  const source = await RecordSource.open(options);
  try {
    if (source.notice !== undefined) tell(`otel-audit: ${source.notice}`);
    const learned = await learnFrom(source, options, { id: options.id, default: options.default });
    if (learned.records === 0) {
      const [first] = learned.unlearned;
      const why =
        first === undefined
          ? "no record fits"
          : `of ${learned.unlearned.length} different actions on record none can be learned, the first: ${first.why}`;
      throw new CliError("NO_DATA", `there is nothing to learn from: ${why}`);
    }
    if (options.output !== undefined) await writePolicy("--output", options.output, learned.text);
    if (options.json) {
      const { text, records, unlearned, policy } = learned;
      const { id, version, ruleIds } = policy;
      await print(`${safeJson({ policy: { id, version, rules: ruleIds }, records, unlearned, text }, 2)}\n`);
    } else {
      if (options.output === undefined) await print(learned.text);
      tell(`otel-audit: ${learnedLine(learned, options.output)}`);
    }
  } finally {
    await source.close();
  }
}
