import { Command } from "commander";
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { CliError, ExitCode, describeSystemError } from "../errors.ts";
import { checkReport, testReport, type CheckResult } from "../output/policy.ts";
import { paint, print } from "../output/stdout.ts";
import { printableLines, safeJson } from "../output/text.ts";

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

Exit code: 0 every case passed; 1 a case failed; 2 the file or its policy cannot be used.

Examples:
  otel-audit policy test support-tests.yaml
  otel-audit policy test support-tests.yaml --policy new-support.yaml`;

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
  const test = new Command("test")
    .description("Run cases against a policy")
    .argument("<file>", "cases in YAML")
    .option("--policy <file>", "policy to test, instead of the one that the file names")
    .option("--json", "for machines")
    .addHelpText("after", TEST_HELP)
    .action(async (file: string, options: { policy?: string; json?: true }) => {
      process.exitCode = await testPolicy(file, options);
    });
  return new Command("policy").description("Check and test policies").addCommand(check).addCommand(test);
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

/** The last line says it all, so it stands out. */
async function printReport(lines: readonly string[], isFine: boolean): Promise<void> {
  const last = paint(process.stdout, isFine ? "green" : "red", printableLines(lines.at(-1) ?? ""));
  await print(`${[...lines.slice(0, -1).map(printableLines), last].join("\n")}\n`);
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
