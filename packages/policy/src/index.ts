export { compileAgents } from "./agents.ts";
export { NO_POLICY, Policy, type PolicyOptions } from "./policy.ts";
export { formatIssue, PolicyError, type PolicyErrorCode, type PolicyIssue } from "./error.ts";
export type { PolicyAction, PolicyEvaluator, PolicyMode, PolicyTarget, Verdict } from "./types.ts";
export type { PolicyWarning, PolicyWarningCode } from "./warnings.ts";
export {
  runPolicyTests,
  type PolicyTestCaseResult,
  type PolicyTestDifference,
  type PolicyTestOptions,
  type PolicyTestResult,
} from "./policy-tests.ts";
