import { createHash } from "node:crypto";
import * as fs from "node:fs";

import { NO_POLICY, Policy, type PolicyEvaluator, type PolicyMode } from "@otel-audit/policy";

import { realPath } from "./links.ts";

/** The policy in force, or what takes its place. One object for each document that was loaded. */
export interface Gate {
  readonly policy: PolicyEvaluator;
  readonly mode: PolicyMode;
  /** The document, for `policy.loaded`; undefined without one. */
  readonly text: string | undefined;
  /** Why the policy denies everything; undefined when it was loaded. */
  readonly error: Error | undefined;
  /** For people: dead rules and such. */
  readonly warnings: readonly string[];
}

// As they were before anybody patched them: what is judged by must not come from a replaced function.
const { readFileSync } = fs;

/**
 * Loads the policy. Never throws: a policy that cannot be loaded denies everything by `policy_error` (guarantee 9).
 * Such a deny stops actions unless `mode` says observe: what the document would have said is not known.
 */
export function loadGate(file: string | undefined, mode: PolicyMode | undefined): Gate {
  if (file === undefined) {
    return { policy: NO_POLICY, mode: mode ?? "observe", text: undefined, error: undefined, warnings: [] };
  }
  let text: string | undefined;
  try {
    text = readFileSync(file, "utf8");
    return parseGate(text, file, mode);
  } catch (cause) {
    const error = cause instanceof Error ? cause : new Error(String(cause));
    return { policy: denyAll(error, text, mode ?? "enforce"), mode: mode ?? "enforce", text, error, warnings: [] };
  }
}

/** @throws PolicyError */
export function parseGate(text: string, file: string, mode: PolicyMode | undefined): Gate {
  const policy = Policy.parse(text, { file, mode, realPath });
  const warnings = policy.warnings.map((warning) => `${file}:${warning.line}:${warning.column}: ${warning.message}`);
  return { policy, mode: policy.mode, text, error: undefined, warnings };
}

function denyAll(error: Error, text: string | undefined, mode: PolicyMode): PolicyEvaluator {
  const id = "policy_error";
  const version = text === undefined ? "" : `sha256:${createHash("sha256").update(text).digest("hex")}`;
  const reason = `the policy could not be loaded: ${error.message.split("\n", 1)[0]}`;
  return {
    id,
    version,
    mode,
    evaluate: (action) => ({
      decision: "deny",
      enforcement: mode === "enforce" ? "enforced" : "observed",
      policyId: id,
      policyVersion: version,
      ruleId: "policy_error",
      reason,
      action: action.action,
    }),
  };
}
