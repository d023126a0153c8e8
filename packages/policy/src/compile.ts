import { AUDIT_ACTIONS_BY_DANGER, type AuditPolicyDecision } from "@otel-audit/semantic-conventions";
import { BUILTIN_NAMES } from "./builtin.ts";
import { GlobSyntaxError } from "./glob-syntax.ts";
import {
  ACTOR_TYPES,
  type CompiledPolicy,
  type CompiledResource,
  type CompiledRule,
  type Match,
  type NameTerm,
  type ResourceTerm,
} from "./model.ts";
import {
  compileNamePatterns,
  compileResourcePattern,
  type NamePattern,
  type RealPath,
  type ResourcePattern,
} from "./pattern.ts";
import type { MatchShape, PolicyShape, ResourceShape, RuleShape, TermShape } from "./schema.ts";
import type { Path, Source } from "./source.ts";
import { suggest } from "./suggest.ts";
import { RESOURCE_KINDS } from "./resource-kind.ts";
import type { PolicyMode } from "./types.ts";

/** The word for an absent value. */
const NONE = "none";
/** Rule ids that verdicts use for themselves. */
const RESERVED_RULE_IDS = ["default", "policy_error"];
/** Most patterns of all resources together, braces expanded: each may be tried for each action. */
const MAX_RESOURCE_PATTERNS = 4096;
const ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const ID_RULE = "has to be 1 to 64 letters, digits, '.', '_' or '-', and start with a letter or digit";

/** Resolves the names and patterns of a document. What is wrong is reported to the source. */
export function compilePolicy(
  source: Source,
  shape: PolicyShape,
  version: string,
  mode: PolicyMode,
  realPath?: RealPath,
): CompiledPolicy {
  if (!ID.test(shape.policy)) {
    source.report(
      "INVALID_VALUE",
      ["policy"],
      `the policy's id ${JSON.stringify(shape.policy.slice(0, 80))} ${ID_RULE}`,
    );
  }
  const compiler = new Compiler(source, realPath);
  const resources = compiler.resources(shape.resources ?? {});
  const rules = compiler.rules(shape.rules ?? [], mode);
  return { id: shape.policy, version, mode, defaultDecision: shape.default, resources, rules };
}

class Compiler {
  readonly #source: Source;
  readonly #realPath: RealPath | undefined;
  /** Row of each resource, built-ins behind the document's. */
  readonly #indexes = new Map<string, number>();
  #patternCount = 0;

  constructor(source: Source, realPath: RealPath | undefined) {
    this.#source = source;
    this.#realPath = realPath;
  }

  resources(shapes: Readonly<Record<string, ResourceShape>>): CompiledResource[] {
    const compiled = Object.entries(shapes).map(([name, shape]) => this.#resource(name, shape));
    for (const name of BUILTIN_NAMES) {
      this.#indexes.set(name, this.#indexes.size);
    }
    return compiled;
  }

  #resource(name: string, shape: ResourceShape): CompiledResource {
    const path = ["resources", name];
    if (name === NONE || !ID.test(name)) {
      const why = name.startsWith("@") ? "is a built-in's name; choose one without '@'" : ID_RULE;
      const what = name === NONE ? `is the word for "no resource"; choose another name` : why;
      this.#source.reportKey("INVALID_VALUE", path, `the resource name ${JSON.stringify(name.slice(0, 80))} ${what}`);
    }
    this.#indexes.set(name, this.#indexes.size);
    const patterns: ResourcePattern[] = [];
    for (const kind of RESOURCE_KINDS) {
      for (const [text, where] of listOf(shape[kind], [...path, kind])) {
        const pattern = this.#checked(where, () => compileResourcePattern(kind, text, this.#realPath));
        if (pattern !== undefined) {
          patterns.push(pattern);
          this.#patternCount += pattern.alternatives.length;
          if (this.#patternCount > MAX_RESOURCE_PATTERNS) {
            this.#source.report("TOO_LARGE", where, `the resources have more than ${MAX_RESOURCE_PATTERNS} patterns`);
          }
        }
      }
    }
    if (RESOURCE_KINDS.every((kind) => shape[kind] === undefined)) {
      this.#source.reportKey(
        "MISSING_KEY",
        path,
        `the resource has no pattern; write one of ${RESOURCE_KINDS.join(", ")}`,
      );
    }
    if (shape.action !== undefined && [shape.http, shape.tool, shape.process].every((each) => each === undefined)) {
      const message = "the action of a statement or a file access is known; only http, tool and process may name one";
      this.#source.reportKey("INVALID_VALUE", [...path, "action"], message);
    }
    return { name, patterns, action: shape.action };
  }

  rules(shapes: readonly RuleShape[], mode: PolicyMode): CompiledRule[] {
    const seen = new Map<string, number>();
    const compiled: CompiledRule[] = [];
    for (const [index, shape] of shapes.entries()) {
      const path = ["rules", index];
      this.#checkRuleId(shape.id, path, seen);
      seen.set(shape.id, index);
      const decisions = (["allow", "deny", "review"] as const).filter((each) => shape[each] !== undefined);
      const [decision] = decisions;
      if (decision === undefined || decisions.length > 1) {
        const got = decision === undefined ? "none" : decisions.join(" and ");
        const code = decision === undefined ? "MISSING_KEY" : "INVALID_VALUE";
        this.#source.report(
          code,
          path,
          `the rule ${JSON.stringify(shape.id)} needs one of allow, deny, review, got ${got}`,
        );
        continue;
      }
      compiled.push({
        id: shape.id,
        decision,
        isEnforced: (shape.mode ?? mode) === "enforce",
        reason: shape.reason ?? describeRule(shape.id, decision, shape[decision] ?? {}),
        isDurable: shape.durable === true,
        match: this.#match(shape[decision] ?? {}, [...path, decision]),
        index,
      });
    }
    return compiled;
  }

  #checkRuleId(id: string, path: Path, seen: ReadonlyMap<string, number>): void {
    const shown = JSON.stringify(id.slice(0, 80));
    const where = [...path, "id"];
    if (!ID.test(id)) {
      this.#source.report("INVALID_VALUE", where, `the rule id ${shown} ${ID_RULE}`);
    }
    if (RESERVED_RULE_IDS.includes(id)) {
      this.#source.report("INVALID_VALUE", where, `the rule id ${shown} is reserved for verdicts without a rule`);
    }
    const before = seen.get(id);
    if (before !== undefined) {
      this.#source.report("DUPLICATE_RULE", where, `the rule id ${shown} is already used by rules[${before}]`);
    }
  }

  #match(shape: MatchShape, path: Path): Match {
    const name = (key: keyof MatchShape, isActor = false): NameTerm | undefined =>
      shape[key] === undefined ? undefined : this.#names(shape[key], [...path, key], isActor);
    return {
      agent: name("agent", true),
      actorChain: name("actor_chain", true),
      onBehalfOf: name("on_behalf_of"),
      workflow: name("workflow"),
      tool: name("tool"),
      event: this.#event(shape.event, [...path, "event"]),
      actorTypes: this.#bits(shape.actor_type, [...path, "actor_type"], ACTOR_TYPES),
      actions: this.#bits(shape.action, [...path, "action"], AUDIT_ACTIONS_BY_DANGER),
      resource: this.#resourceTerm(shape.resource, [...path, "resource"]),
    };
  }

  #names(shape: TermShape, path: Path, isActor: boolean): NameTerm {
    const { isNegated, items } = itemsOf(shape, path);
    const patterns: NamePattern[] = [];
    for (const [text, where] of items) {
      if (text !== NONE) {
        patterns.push(...(this.#checked(where, () => compileNamePatterns(text, isActor)) ?? []));
      }
    }
    return { isNegated, hasNone: items.some(([text]) => text === NONE), patterns };
  }

  #event(shape: TermShape | undefined, path: Path): NameTerm | undefined {
    if (shape === undefined) {
      return undefined;
    }
    this.#refuseNone(shape, path);
    return this.#names(shape, path, false);
  }

  #refuseNone(shape: TermShape, path: Path): void {
    for (const [text, where] of itemsOf(shape, path).items) {
      if (text === NONE) {
        this.#source.report("INVALID_VALUE", where, `"none" can never be: every action has ${String(path.at(-1))}`);
      }
    }
  }

  #bits(shape: TermShape | undefined, path: Path, valid: readonly string[]): number {
    const all = (1 << valid.length) - 1;
    if (shape === undefined) {
      return all;
    }
    this.#refuseNone(shape, path);
    const { isNegated, items } = itemsOf(shape, path);
    let bits = 0;
    for (const [text, where] of items) {
      const index = valid.indexOf(text);
      if (index >= 0) {
        bits |= 1 << index;
      } else if (text !== NONE) {
        const help = suggest(text, valid);
        const shown = JSON.stringify(text.slice(0, 80));
        this.#source.report("INVALID_VALUE", where, `${shown} is not one of ${valid.join(", ")}${help}`);
      }
    }
    return isNegated ? all & ~bits : bits;
  }

  #resourceTerm(shape: TermShape | undefined, path: Path): ResourceTerm | undefined {
    if (shape === undefined) {
      return undefined;
    }
    const { isNegated, items } = itemsOf(shape, path);
    const indexes = new Set<number>();
    for (const [text, where] of items) {
      const index = this.#indexes.get(text);
      if (index !== undefined) {
        indexes.add(index);
      } else if (text !== NONE) {
        const help = suggest(text, this.#indexes.keys());
        this.#source.report("UNKNOWN_RESOURCE", where, `unknown resource ${JSON.stringify(text.slice(0, 80))}${help}`);
      }
    }
    const mask = new Uint32Array(Math.ceil(this.#indexes.size / 32));
    for (const index of indexes) {
      mask[index >> 5] = (mask[index >> 5] ?? 0) | (1 << (index & 31));
    }
    return { isNegated, hasNone: items.some(([text]) => text === NONE), indexes: [...indexes], mask };
  }

  #checked<T>(path: Path, compile: () => T): T | undefined {
    try {
      return compile();
    } catch (error) {
      if (error instanceof GlobSyntaxError) {
        this.#source.report("INVALID_PATTERN", path, error.message);
        return undefined;
      }
      throw error;
    }
  }
}

type Item = readonly [text: string, path: Path];

function itemsOf(shape: TermShape, path: Path): { isNegated: boolean; items: Item[] } {
  if (typeof shape === "string" || !("not" in shape)) {
    return { isNegated: false, items: listOf(shape, path) };
  }
  return { isNegated: true, items: listOf(shape.not, [...path, "not"]) };
}

function listOf(value: string | readonly string[] | undefined, path: Path): Item[] {
  if (value === undefined) {
    return [];
  }
  return typeof value === "string" ? [[value, path]] : value.map((text, index) => [text, [...path, index]] as const);
}

const VERBS: Readonly<Record<AuditPolicyDecision, string>> = {
  allow: "allows",
  deny: "denies",
  review: "asks to review",
};

/** `rule no-cards denies resource cards` */
function describeRule(id: string, decision: AuditPolicyDecision, match: MatchShape): string {
  const parts: string[] = [];
  for (const [key, shape] of Object.entries(match)) {
    if (shape !== undefined) {
      const { isNegated, items } = itemsOf(shape, []);
      parts.push(`${key} ${isNegated ? "not " : ""}${items.map(([text]) => text).join(" or ")}`);
    }
  }
  const text = `rule ${id} ${VERBS[decision]} ${parts.length === 0 ? "everything" : parts.join(", ")}`;
  return text.length > 500 ? `${text.slice(0, 499)}…` : text;
}
