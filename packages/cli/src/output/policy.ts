import type {
  PolicyIssue,
  PolicyMode,
  PolicyTestCaseResult,
  PolicyTestResult,
  PolicyWarning,
} from "@otel-audit/policy";

/** What is known about a policy file. Without a policy there are errors. */
export interface CheckResult {
  readonly file: string;
  readonly policy: { id: string; version: string; mode: PolicyMode; rules: readonly string[] } | undefined;
  readonly errors: readonly PolicyIssue[];
  readonly warnings: readonly PolicyWarning[];
}

/** A line for each fault, in the form that editors turn into links, and a last line that sums up. */
export function checkReport({ file, policy, errors, warnings }: CheckResult): string[] {
  const lines = [
    ...errors.map((issue) => faultLine(file, "error", issue)),
    ...warnings.map((warning) => faultLine(file, "warning", warning)),
  ];
  if (policy === undefined) return [...lines, `${file}: ${count(errors.length, "error")}; this policy cannot be used`];
  const what = `policy "${policy.id}", mode ${policy.mode}, ${count(policy.rules.length, "rule")}`;
  return [...lines, `${file}: ${what}: ${warnings.length === 0 ? "fine" : count(warnings.length, "warning")}`];
}

/** A line for each case, its differences under it, and a last line that sums up. */
export function testReport(file: string, { cases, passed, policy, undecidedRules }: PolicyTestResult): string[] {
  const failed = cases.filter((each) => !each.passed).length;
  const lines = cases.flatMap((each) => (each.passed ? [`  ok    ${each.name}`] : failedCase(file, each)));
  if (undecidedRules.length > 0) lines.push(`  no case is decided by ${undecidedRules.join(", ")}`);
  const sum = passed ? `${count(cases.length, "case")} passed` : `${failed} of ${count(cases.length, "case")} failed`;
  return [...lines, `${file}: policy "${policy.id}", mode ${policy.mode}: ${sum}`];
}

function failedCase(file: string, { name, line, column, differences, verdict }: PolicyTestCaseResult): string[] {
  return [
    `  FAIL  ${name} (${file}:${line}:${column})`,
    ...differences.map(({ field, expected, actual }) => `          ${field}: expected ${expected}, got ${actual}`),
    `          because of rule ${verdict.ruleId}: ${verdict.reason}`,
  ];
}

function faultLine(
  file: string,
  kind: "error" | "warning",
  fault: { line: number; column: number; path: string; message: string },
): string {
  const path = fault.path === "" ? "" : `${fault.path}: `;
  return `${file}:${fault.line}:${fault.column}: ${kind}: ${path}${fault.message}`;
}

function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? "" : "s"}`;
}
