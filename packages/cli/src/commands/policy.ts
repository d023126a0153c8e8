import { Command, Option } from "commander";
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { CliError, ExitCode, describeSystemError } from "../errors.ts";
import { checkReport, testReport, type CheckResult } from "../output/policy.ts";
import { print } from "../output/stdout.ts";
import { safeJson } from "../output/text.ts";
import { filterOptions, sourceOptions } from "./options.ts";
import { learnCommand } from "./policy-learn.ts";
import { printReport } from "./policy-report.ts";
import { testTrail, type TrailOptions } from "./policy-trail.ts";

const CHECK_HELP = `
Exit code: 0 the policy can be used; 1 it has errors, or with --strict warnings; 2 the file cannot be read.

Examples:
  otel-audit policy check support.yaml
  otel-audit policy check --strict --json support.yaml`;

const TEST_HELP = `
The file lists actions and what the policy must say about them:

  policy: support.yaml        # beside this file; or --policy FILE
  cases:
    - name: nobody reads cards
      agent: support-1
      event: db.statement
      action: READ
      target: postgresql://db.internal/app/public.cards
      expect: deny            # allow, deny or review
      rule: no-cards          # optional, so too enforcement and resource

With --trail, what is on record is judged again by --policy, or without it by the policy that was loaded last, and what
would change is shown: rule by rule, with how many records and the most frequent of them. Same actions are judged once.
The action is the one at the call, before a resource's \`action:\` changed it.

Exit code: 0 every case passed; 1 a case failed; 2 the file or its policy cannot be used. With --trail: 0 nothing that
passed (allowed, or without a verdict) would be denied; 1 something would, with --strict also when something would be to be
reviewed; 2 no record fits, or there is no policy.

Examples:
  otel-audit policy test support-tests.yaml
  otel-audit policy test support-tests.yaml --policy new-support.yaml
  otel-audit policy test --trail 7d --policy new-support.yaml`;

export function policyCommand(): Command {
  const check = new Command("check")
    .description("Say what is wrong with a policy, and what in it can have no effect")
    .argument("<file>", "policy in YAML")
    .option("--strict", "warnings count as errors")
    .option("--json", "for machines")
    .addHelpText("after", CHECK_HELP)
    .action(async (file: string, options: { strict?: true; json?: true }) => {
      process.exitCode = await checkPolicy(file, options);
    });
  return new Command("policy")
    .description("Check, test and learn policies")
    .addCommand(check)
    .addCommand(testCommand())
    .addCommand(learnCommand());
}

function testCommand(): Command {
  const command = new Command("test")
    .description("Run cases, or what is on record, against a policy")
    .argument("[file]", "cases in YAML")
    .option("--policy <file>", "policy to test, instead of the one that the file names")
    .addOption(
      new Option("--trail <time>", "judge the records since then instead of cases: 7d, 2026-11-21").conflicts([
        "from",
        "last",
      ]),
    )
    .option("--strict", "with --trail: what would have to be reviewed counts as denied")
    .option("--json", "for machines");
  sourceOptions(filterOptions(command));
  return command
    .addHelpText("after", TEST_HELP)
    .action(async (file: string | undefined, options: TestOptions, self: Command) => {
      process.exitCode = await test(file, options, self);
    });
}

type TestOptions = Omit<TrailOptions, "trail"> & { readonly trail?: string };

async function test(file: string | undefined, options: TestOptions, command: Command): Promise<number> {
  const { trail } = options;
  if (trail !== undefined) {
    if (file !== undefined) {
      throw new CliError("USAGE", `--trail: records are tested instead of cases, so "${file}" has no use`);
    }
    return testTrail({ ...options, trail });
  }
  if (file === undefined)
    throw new CliError("USAGE", "give a file of cases, or --trail TIME to test on what is on record");
  const useless = command.options.find(
    (option) =>
      !["policy", "json"].includes(option.attributeName()) &&
      command.getOptionValueSource(option.attributeName()) === "cli",
  );
  if (useless !== undefined)
    throw new CliError("USAGE", `${useless.long}: it is about records, and has no use without --trail`);
  return testPolicy(file, options);
}

async function checkPolicy(file: string, options: { strict?: true; json?: true }): Promise<number> {
  const result = await readAndCheck(file);
  const isFine = result.errors.length === 0 && (!options.strict || result.warnings.length === 0);
  if (options.json) await print(`${safeJson({ ok: isFine, ...result }, 2)}\n`);
  else await printReport(checkReport(result), isFine);
  return isFine ? ExitCode.Ok : ExitCode.No;
}

async function readAndCheck(file: string): Promise<CheckResult> {
  const { Policy, PolicyError } = await import("@otel-audit/policy");
  const text = readText("FILE", file);
  try {
    const { id, version, mode, ruleIds, warnings } = Policy.parse(text, { file });
    return { file, policy: { id, version, mode, rules: ruleIds }, errors: [], warnings };
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    return { file, policy: undefined, errors: error.issues, warnings: [] };
  }
}

async function testPolicy(file: string, options: { policy?: string; json?: true }): Promise<number> {
  const { Policy, PolicyError, runPolicyTests } = await import("@otel-audit/policy");
  const text = readText("FILE", file);
  const { policy: policyFile } = options;
  try {
    const result = runPolicyTests(text, {
      file,
      ...(policyFile !== undefined && {
        policy: Policy.parse(readText("--policy", policyFile), { file: policyFile }),
      }),
      readPolicy: (path) => readPolicyBeside(file, path),
    });
    const { passed, policy, cases, undecidedRules } = result;
    if (options.json) {
      const { id, version, mode } = policy;
      await print(`${safeJson({ ok: passed, file, policy: { id, version, mode }, cases, undecidedRules }, 2)}\n`);
    } else await printReport(testReport(file, result), passed);
    return passed ? ExitCode.Ok : ExitCode.No;
  } catch (error) {
    // The message has a line with its place for each fault.
    if (error instanceof PolicyError) throw new CliError("USAGE", error.message, { cause: error });
    throw error;
  }
}

function readText(what: string, file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (cause) {
    throw new CliError("USAGE", `${what}: cannot read "${file}": ${describeSystemError(cause)}`, { cause });
  }
}

/** A path in a file of cases starts at that file's directory. */
function readPolicyBeside(file: string, path: string): string {
  try {
    return readFileSync(resolve(dirname(file), path), "utf8");
  } catch (cause) {
    throw new Error(describeSystemError(cause), { cause });
  }
}
