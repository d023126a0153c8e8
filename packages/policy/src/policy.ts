import { AUDIT_ACTIONS_BY_DANGER, type AuditAction } from "@otel-audit/semantic-conventions";
import { hash } from "node:crypto";
import { builtinName } from "./builtin.ts";
import { compilePolicy } from "./compile.ts";
import { Evaluator } from "./evaluate.ts";
import { Memo } from "./memo.ts";
import type { CompiledPolicy } from "./model.ts";
import { POLICY } from "./schema.ts";
import { checkShape } from "./shape.ts";
import { Source } from "./source.ts";
import { readTarget } from "./target.ts";
import type { PolicyAction, PolicyEvaluator, PolicyMode, Verdict } from "./types.ts";
import { findWarnings, type PolicyWarning } from "./warnings.ts";

export interface PolicyOptions {
  /** Name of the file for errors and warnings; nothing is read. Default `policy.yaml`. */
  readonly file?: string | undefined;
  /** Takes the place of the document's `mode`. A rule's own `mode` stays. */
  readonly mode?: PolicyMode | undefined;
  /**
   * Where a path leads when its symbolic links are followed. With it a deny or review of a `file` pattern is also one of
   * that place, as of now: of `/var/run/**` for what is opened as `/run/x`. Default: patterns are taken as they are.
   */
  readonly realPath?: ((path: string) => string) | undefined;
}

/** A policy document, compiled. */
export class Policy implements PolicyEvaluator {
  /** The document's `policy`. */
  readonly id: string;
  /** `sha256:` and the hex digest of the text's UTF-8 bytes. */
  readonly version: string;
  readonly text: string;
  /** The mode in use: {@link PolicyOptions.mode}, else the document's. */
  readonly mode: PolicyMode;
  /** The ids of the rules in the order of the document. */
  readonly ruleIds: readonly string[];
  /** What is allowed but cannot be meant, in the order of the document. */
  readonly warnings: readonly PolicyWarning[];
  readonly #evaluator: Evaluator;
  readonly #memo = new Memo();
  readonly #failsEnforced: boolean;

  private constructor(text: string, compiled: CompiledPolicy, warnings: readonly PolicyWarning[]) {
    this.id = compiled.id;
    this.version = compiled.version;
    this.text = text;
    this.mode = compiled.mode;
    this.ruleIds = compiled.rules.map((rule) => rule.id);
    this.warnings = warnings;
    this.#evaluator = new Evaluator(compiled);
    // Else whatever makes the policy fail would pass a deny that is enforced.
    this.#failsEnforced = compiled.mode === "enforce" || compiled.rules.some((rule) => rule.isEnforced);
  }

  /** Compiles a document of at most 64 KiB. Throws `PolicyError`. */
  static parse(text: string, options: PolicyOptions = {}): Policy {
    const source = new Source(text, options.file ?? "policy.yaml");
    const shape = checkShape(source, POLICY);
    source.throwIfFaulty();
    if (shape === undefined) {
      throw new TypeError("a document without a shape was not reported");
    }
    const version = `sha256:${hash("sha256", text, "hex")}`;
    const compiled = compilePolicy(source, shape, version, options.mode ?? shape.mode, options.realPath);
    source.throwIfFaulty();
    return new Policy(text, compiled, findWarnings(source, compiled));
  }

  evaluate(action: PolicyAction): Verdict {
    try {
      const known = this.#memo.get(action);
      if (known !== undefined) return known;
      const verdict = Object.freeze(this.#evaluator.judge(action));
      this.#memo.put(action, verdict);
      return verdict;
    } catch (error) {
      return {
        decision: "deny",
        enforcement: this.#failsEnforced ? "enforced" : "observed",
        policyId: this.id,
        policyVersion: this.version,
        ruleId: "policy_error",
        reason: reasonOf(error),
        action: actionOf(action),
        durable: true,
      };
    }
  }
}

/** What judges where there is no policy: everything is allowed, and built-in resources still have their names. */
export const NO_POLICY: PolicyEvaluator = Object.freeze({
  id: "none",
  version: "",
  mode: "observe",
  evaluate(action: PolicyAction): Verdict {
    return {
      decision: "allow",
      enforcement: "observed",
      policyId: "none",
      policyVersion: "",
      ruleId: "default",
      reason: "there is no policy",
      targetName: nameOf(action),
      action: actionOf(action),
      durable: false,
    };
  },
});

function nameOf(action: PolicyAction): string | undefined {
  try {
    const [target] = action.targets;
    return target === undefined ? undefined : builtinName(readTarget(target.type, target.id));
  } catch {
    return undefined;
  }
}

/** Never throws: the action may be what could not be judged. */
function actionOf(action: PolicyAction): AuditAction {
  try {
    return AUDIT_ACTIONS_BY_DANGER.includes(action.action) ? action.action : "EXECUTE";
  } catch {
    return "EXECUTE";
  }
}

function reasonOf(error: unknown): string {
  try {
    const message = error instanceof Error ? error.message : String(error);
    return `the policy could not be evaluated: ${message.slice(0, 400)}`;
  } catch {
    return "the policy could not be evaluated";
  }
}
