import type { AuditTargetType } from "@otel-audit/semantic-conventions";
import { Policy } from "./policy.ts";
import { type CaseShape, TESTS } from "./schema.ts";
import { checkShape } from "./shape.ts";
import { Source, type Path } from "./source.ts";
import { suggest } from "./suggest.ts";
import type { PolicyAction, PolicyMode, PolicyTarget, Verdict } from "./types.ts";

export interface PolicyTestOptions {
  /** Name of the file of cases, for messages. Default `policy-tests.yaml`. */
  readonly file?: string | undefined;
  /** The policy to test; goes before the file's own `policy`. */
  readonly policy?: Policy | undefined;
  /** Gives the text of the file that `policy:` names, as it is written there. This package reads no files itself. */
  readonly readPolicy?: ((path: string) => string) | undefined;
}

/** One line of a diff. */
export interface PolicyTestDifference {
  readonly field: "decision" | "rule" | "enforcement" | "resource";
  readonly expected: string;
  readonly actual: string;
}

export interface PolicyTestCaseResult {
  readonly name: string;
  readonly passed: boolean;
  /** 1-based place of the case. */
  readonly line: number;
  readonly column: number;
  /** Empty when the case passed. */
  readonly differences: readonly PolicyTestDifference[];
  readonly verdict: Verdict;
}

export interface PolicyTestResult {
  /** Every case passed. */
  readonly passed: boolean;
  readonly policy: Policy;
  readonly cases: readonly PolicyTestCaseResult[];
  /** Ids of the rules that decided no case, in the order of the policy. */
  readonly undecidedRules: readonly string[];
}

/** Runs the cases of a YAML file against a policy; see the README for the format. Throws `PolicyError`. */
export function runPolicyTests(text: string, options: PolicyTestOptions = {}): PolicyTestResult {
  const source = new Source(text, options.file ?? "policy-tests.yaml");
  const shape = checkShape(source, TESTS);
  source.throwIfFaulty();
  if (shape === undefined) {
    throw new TypeError("a document without a shape was not reported");
  }
  const actions = shape.cases.map((each, index) => readCase(source, each, ["cases", index]));
  source.throwIfFaulty();
  const policy =
    options.policy === undefined
      ? loadPolicy(source, shape.policy, shape.mode, options.readPolicy)
      : inMode(options.policy, shape.mode);
  for (const [index, { rule }] of shape.cases.entries()) {
    if (rule !== undefined && !policy.ruleIds.includes(rule) && rule !== "default" && rule !== "policy_error") {
      const help = suggest(rule, policy.ruleIds);
      source.report("INVALID_VALUE", ["cases", index, "rule"], `the policy has no rule ${JSON.stringify(rule)}${help}`);
    }
  }
  source.throwIfFaulty();
  const cases = shape.cases.map((each, index): PolicyTestCaseResult => {
    const verdict = policy.evaluate(actions[index] ?? EMPTY);
    const differences = compare(each, verdict);
    const place = source.place(["cases", index]);
    return { name: each.name, passed: differences.length === 0, ...place, differences, verdict };
  });
  const deciding = new Set(cases.map(({ verdict }) => verdict.ruleId));
  return {
    passed: cases.every((each) => each.passed),
    policy,
    cases,
    undecidedRules: policy.ruleIds.filter((id) => !deciding.has(id)),
  };
}

const EMPTY: PolicyAction = { event: "", action: "EXECUTE", targets: [], actorId: "", actorType: "agent" };

/** The mode of the cases takes the place of the policy's, whoever names the policy. */
function inMode(policy: Policy, mode: PolicyMode | undefined): Policy {
  return mode === undefined || mode === policy.mode ? policy : Policy.parse(policy.text, { mode });
}

function loadPolicy(
  source: Source,
  path: string | undefined,
  mode: PolicyMode | undefined,
  read: ((path: string) => string) | undefined,
): Policy {
  if (path === undefined) {
    source.report("MISSING_KEY", ["policy"], `the key "policy" is missing: which file is tested?`);
    source.throwIfFaulty();
  }
  let text = "";
  try {
    if (read === undefined) {
      throw new TypeError("the caller gave no way to read files");
    }
    text = read(path ?? "");
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw source.fatal("UNREADABLE", ["policy"], `cannot read the policy ${JSON.stringify(path)}: ${why}`, error);
  }
  return Policy.parse(text, { file: path, mode });
}

function readCase(source: Source, shape: CaseShape, path: Path): PolicyAction {
  if (shape.target !== undefined && shape.targets !== undefined) {
    source.report("INVALID_VALUE", [...path, "targets"], `"target" and "targets" exclude each other`);
  }
  const targets = [
    ...(shape.target === undefined ? [] : [readTarget(source, shape.target, [...path, "target"])]),
    ...(shape.targets ?? []).map((each, index) => readTarget(source, each, [...path, "targets", index])),
  ];
  return {
    event: shape.event,
    action: shape.action,
    targets,
    actorId: shape.agent ?? "",
    actorType: shape.actor_type ?? "agent",
    actorChain: shape.actor_chain,
    onBehalfOf: shape.on_behalf_of,
    workflow: shape.workflow,
    tool: shape.tool,
  };
}

function readTarget(source: Source, shape: NonNullable<CaseShape["target"]>, path: Path): PolicyTarget {
  const { type, id, access } = typeof shape === "string" ? { id: shape } : shape;
  const known = type ?? typeOf(id);
  if (known === undefined) {
    const message = `the type of the target ${JSON.stringify(id.slice(0, 80))} is not clear; write { type: …, id: … }`;
    source.report("INVALID_VALUE", path, message);
  }
  return { type: known ?? "file", id, access };
}

/** The type that a canonical id shows by itself. */
function typeOf(id: string): AuditTargetType | undefined {
  if (/^(?:https?|wss?):\/\//i.test(id)) {
    return "http.endpoint";
  }
  if (id.startsWith("/") || id.startsWith("file://")) {
    return "file";
  }
  if (/^(?:tcp|udp|unix):/i.test(id)) {
    return "socket";
  }
  if (/^(?:tool|process):/.test(id)) {
    return id.startsWith("tool:") ? "tool" : "process";
  }
  const database = /^[a-z][a-z0-9+]*:\/\/[^/]*\/[^/]+(\/.+)?$/i.exec(id);
  if (database === null) {
    return undefined;
  }
  return database[1] === undefined ? "database" : "database.table";
}

function compare(shape: CaseShape, verdict: Verdict): PolicyTestDifference[] {
  const pairs = [
    { field: "decision", expected: shape.expect, actual: verdict.decision },
    { field: "rule", expected: shape.rule, actual: verdict.ruleId },
    { field: "enforcement", expected: shape.enforcement, actual: verdict.enforcement },
    { field: "resource", expected: shape.resource, actual: verdict.targetName ?? "none" },
  ] as const;
  return pairs.flatMap(({ field, expected, actual }) =>
    expected === undefined || expected === actual ? [] : [{ field, expected, actual }],
  );
}
