import { AUDIT_ACTIONS_BY_DANGER, type AuditAction } from "@otel-audit/semantic-conventions";
import { BUILTIN_NAMES, builtinIndex, builtinName, isCertain } from "./builtin.ts";
import { ACTOR_TYPES, type CompiledResource, type ResourceTerm } from "./model.ts";
import { takesTree } from "./glob.ts";
import { AGENT_PREFIX, type Alternative } from "./pattern.ts";
import { RESOURCE_KINDS, type ResourceKind } from "./resource-kind.ts";
import { describe, readTarget, type Reading } from "./target.ts";
import type { PolicyAction } from "./types.ts";

/** Most targets of one action. */
const MAX_TARGETS = 1000;

/** Longest identity or name that is judged, in UTF-16 code units. */
const MAX_NAME_LENGTH = 4096;

const EXECUTE = AUDIT_ACTIONS_BY_DANGER.indexOf("EXECUTE");
const WRITE = AUDIT_ACTIONS_BY_DANGER.indexOf("WRITE");
const READ = AUDIT_ACTIONS_BY_DANGER.indexOf("READ");

/** `postgresql://host/db/*.orders`, `…/hr.*`: in a real name the star is `%2A`. */
const WILD_TABLE = /\/(?:\*\.[^/*]+|[^/*]+\.\*)$/;

/** Longer ones are not compared, and so doubted. */
const MAX_WILD_NAME = 512;

/** The action cannot be judged: a deny. */
class EvaluationError extends Error {
  override readonly name = "EvaluationError";
}

interface IndexedPattern extends Alternative {
  /** Row of the resource. */
  readonly index: number;
}

/** What the rules ask about one action. Used again for every action, so that judging allocates little. */
export class Facts {
  readonly #resources: readonly CompiledResource[];
  /** Resources that name an action, by danger. */
  readonly #overrides: readonly { readonly index: number; readonly action: number }[];
  readonly #words: number;
  /** Patterns by what they are for, in the order of the resources. */
  readonly #patterns: ReadonlyMap<ResourceKind, readonly IndexedPattern[]>;
  /** Resources that a target belongs to as it is written, `words` numbers a target. */
  #exact: Uint32Array;
  /** … and as a lenient server reads it. */
  #loose: Uint32Array;
  /** Actions of each target as bits by danger. */
  #actions: Uint8Array;
  #targetCount = 0;

  /** The actor's id without `agent:`. */
  agent = "";
  /** The actor's type as a bit. */
  actorType = 0;
  isAgent = false;
  /** The action and those of all targets, as bits by danger. */
  actionBits = 0;
  /** After a resource's `action:`. */
  action: AuditAction = "EXECUTE";
  targetName: string | undefined;

  constructor(resources: readonly CompiledResource[]) {
    this.#resources = resources;
    this.#overrides = resources.flatMap(({ action }, index) =>
      action === undefined ? [] : [{ index, action: AUDIT_ACTIONS_BY_DANGER.indexOf(action) }],
    );
    this.#patterns = new Map(RESOURCE_KINDS.map((kind) => [kind, patternsOf(resources, kind)]));
    this.#words = Math.ceil((resources.length + BUILTIN_NAMES.length) / 32);
    this.#exact = new Uint32Array(8 * this.#words);
    this.#loose = new Uint32Array(8 * this.#words);
    this.#actions = new Uint8Array(8);
  }

  /** Throws what makes the action impossible to judge. */
  read(action: PolicyAction): void {
    const { actorId, actorType, targets } = action;
    checkName("actorId", actorId);
    checkName("event", action.event);
    for (const key of OPTIONAL_NAMES) {
      if (action[key] !== undefined) {
        checkName(key, action[key]);
      }
    }
    for (const id of action.actorChain ?? []) {
      checkName("actorChain", id);
    }
    const type = ACTOR_TYPES.indexOf(actorType);
    if (type === -1) {
      throw new EvaluationError(`unknown actor type ${describe(actorType)}`);
    }
    this.actorType = 1 << type;
    if (!Array.isArray(targets) || targets.length > MAX_TARGETS) {
      throw new EvaluationError(`the action has no list of at most ${MAX_TARGETS} targets`);
    }
    this.isAgent = actorType === "agent" || actorId.startsWith(AGENT_PREFIX);
    this.agent = withoutAgentPrefix(actorId);
    this.#readTargets(action);
  }

  #readTargets(action: PolicyAction): void {
    const whole = AUDIT_ACTIONS_BY_DANGER.indexOf(action.action);
    if (whole === -1) {
      throw new EvaluationError(`unknown action ${describe(action.action)}`);
    }
    const { targets } = action;
    // An action without a target is judged like one on something that belongs to no resource.
    this.#targetCount = Math.max(1, targets.length);
    this.#reserve(this.#targetCount);
    this.targetName = undefined;
    this.#actions[0] = 1 << whole;
    let bits = 0;
    let changed = -1;
    for (let index = 0; index < targets.length; index++) {
      const target = targets[index];
      if (target === undefined) {
        throw new EvaluationError(`the action's target ${index} is missing`);
      }
      const reading = readTarget(target.type, target.id);
      const name = this.#readResources(reading, index);
      if (target.recursive === true) {
        this.#doubtTree(reading, index);
      }
      if (whole === EXECUTE && target.type === "database") {
        this.#doubtTables(reading, index);
      }
      if (target.type === "database.table" && WILD_TABLE.test(target.id)) {
        this.#doubtNames(reading, index);
      }
      if (index === 0) {
        this.targetName = name;
      }
      const own = this.#ownAction(reading, index, whole);
      if (own === undefined) {
        // As in SQL's own grants: what is only read needs the right to read.
        const isRead = target.access === "read" && whole !== READ;
        const executes = whole === EXECUTE ? 1 << EXECUTE : 0;
        this.#actions[index] = isRead ? (1 << READ) | executes : 1 << whole;
      } else {
        this.#actions[index] = 1 << own;
        changed = Math.max(changed, own);
      }
      bits |= this.#actions[index] ?? 0;
    }
    const effective = changed === -1 ? whole : changed;
    this.action = AUDIT_ACTIONS_BY_DANGER[effective] ?? "EXECUTE";
    this.actionBits = bits | (1 << effective);
  }

  #reserve(targetCount: number): void {
    const length = targetCount * this.#words;
    if (this.#exact.length < length) {
      this.#exact = new Uint32Array(length);
      this.#loose = new Uint32Array(length);
      this.#actions = new Uint8Array(targetCount);
    } else {
      this.#exact.fill(0, 0, length);
      this.#loose.fill(0, 0, length);
    }
  }

  /** Marks the resources of one target and gives the name for the record. */
  #readResources(reading: Reading, target: number): string | undefined {
    const { scheme, exact, loose } = reading;
    let name: string | undefined;
    for (const pattern of this.#patterns.get(reading.kind) ?? []) {
      if (pattern.scheme !== undefined && pattern.scheme !== scheme) {
        continue;
      }
      const isExact = pattern.exact(exact);
      const isLoose = exact === loose && pattern.exact === pattern.loose ? isExact : pattern.loose(loose);
      if (isExact || isLoose) {
        name ??= this.#resources[pattern.index]?.name;
        this.#mark(target, pattern.index, isExact, isLoose);
      }
    }
    const builtin = builtinName(reading);
    if (builtin !== undefined) {
      this.#mark(target, this.#resources.length + builtinIndex(builtin), isCertain(reading), true);
    }
    return name ?? builtin;
  }

  /**
   * A directory with all that is in it. What protects something below is doubted to be touched, and what takes the
   * directory alone is no allow for what is below.
   */
  #doubtTree({ kind, exact, loose }: Reading, target: number): void {
    const sure = new Set<number>();
    for (const pattern of this.#patterns.get(kind) ?? []) {
      if (takesTree(pattern.exact, exact)) {
        sure.add(pattern.index);
      } else if (pattern.below?.(loose) === true) {
        this.#mark(target, pattern.index, false, true);
      }
    }
    for (let index = 0; index < this.#resources.length; index++) {
      if (!sure.has(index)) {
        const word = target * this.#words + (index >> 5);
        const doubted = (this.#exact[word] ?? 0) & (1 << (index & 31));
        this.#exact[word] = (this.#exact[word] ?? 0) & ~doubted;
        this.#loose[word] = (this.#loose[word] ?? 0) | doubted;
      }
    }
  }

  /**
   * What executes in a database (a DO block, a procedure, SQL that was not understood) may touch any table in it: doubt,
   * which a deny or review takes as a yes and an allow as a no.
   */
  #doubtTables({ scheme, loose }: Reading, target: number): void {
    for (const pattern of this.#patterns.get("db") ?? []) {
      if ((pattern.scheme === undefined || pattern.scheme === scheme) && pattern.within?.(loose) === true) {
        this.#mark(target, pattern.index, false, true);
      }
    }
  }

  /** A table whose schema is not known, or all tables of a schema: doubt about each that it could be. */
  #doubtNames({ scheme, loose }: Reading, target: number): void {
    const at = loose.lastIndexOf("/");
    const name = loose.slice(at + 1);
    for (const pattern of this.#patterns.get("db") ?? []) {
      if (pattern.scheme !== undefined && pattern.scheme !== scheme) continue;
      const isMet = name.length > MAX_WILD_NAME || pattern.meets?.(name) === true;
      if (isMet && pattern.within?.(loose.slice(0, at)) === true) {
        this.#mark(target, pattern.index, false, true);
      }
    }
  }

  #mark(target: number, index: number, isExact: boolean, isLoose: boolean): void {
    const word = target * this.#words + (index >> 5);
    const bit = 1 << (index & 31);
    if (isExact) {
      this.#exact[word] = (this.#exact[word] ?? 0) | bit;
    }
    if (isLoose) {
      this.#loose[word] = (this.#loose[word] ?? 0) | bit;
    }
  }

  /** The action that a resource of the target names, where the call itself does not tell what it does. */
  #ownAction(reading: Reading, target: number, whole: number): number | undefined {
    const isOpen =
      reading.kind === "http"
        ? whole === WRITE
        : (reading.kind === "tool" || reading.kind === "process") && whole === EXECUTE;
    if (!isOpen) {
      return undefined;
    }
    let own: number | undefined;
    for (const { index, action } of this.#overrides) {
      // Made less dangerous only without doubt.
      const word = target * this.#words + (index >> 5);
      if ((this.#marks(word, action < whole) & (1 << (index & 31))) !== 0) {
        own = Math.max(own ?? action, action);
      }
    }
    return own;
  }

  /** Some target is acted on in one of these ways and is in the resources; doubt counts as yes. */
  hasTarget(actions: number, resource: ResourceTerm | undefined): boolean {
    if (resource === undefined) {
      return (this.actionBits & actions) !== 0;
    }
    for (let target = 0; target < this.#targetCount; target++) {
      if (((this.#actions[target] ?? 0) & actions) !== 0 && this.#isIn(resource, target, false)) {
        return true;
      }
    }
    return false;
  }

  /** The action and all targets stay within these; doubt counts as no. */
  staysWithin(actions: number, resource: ResourceTerm | undefined): boolean {
    if ((this.actionBits & ~actions) !== 0) {
      return false;
    }
    if (resource !== undefined) {
      for (let target = 0; target < this.#targetCount; target++) {
        if (!this.#isIn(resource, target, true)) {
          return false;
        }
      }
    }
    return true;
  }

  /** Resources in both readings, or in one. */
  #marks(word: number, isSure: boolean): number {
    const exact = this.#exact[word] ?? 0;
    const loose = this.#loose[word] ?? 0;
    return isSure ? exact & loose : exact | loose;
  }

  /** With `isSure` a doubt counts against the match: what an allow needs. */
  #isIn(term: ResourceTerm, target: number, isSure: boolean): boolean {
    // What is sure to be outside is not even possibly inside.
    const isInnerSure = isSure !== term.isNegated;
    const first = target * this.#words;
    let isHit = false;
    let isNone = term.hasNone;
    for (let word = 0; word < this.#words; word++) {
      isHit ||= (this.#marks(first + word, isInnerSure) & (term.mask[word] ?? 0)) !== 0;
      isNone &&= this.#marks(first + word, !isInnerSure) === 0;
    }
    return (isHit || isNone) !== term.isNegated;
  }
}

function patternsOf(resources: readonly CompiledResource[], kind: ResourceKind): IndexedPattern[] {
  return resources.flatMap(({ patterns }, index) =>
    patterns
      .filter((pattern) => pattern.kind === kind)
      .flatMap(({ alternatives }) => alternatives.map((each) => ({ ...each, index }))),
  );
}

/** `agent:refunds` and `refunds` are one agent. */
export function withoutAgentPrefix(id: string): string {
  return id.startsWith(AGENT_PREFIX) ? id.slice(AGENT_PREFIX.length) : id;
}

const OPTIONAL_NAMES = ["onBehalfOf", "workflow", "tool"] as const;

function checkName(field: string, value: unknown): void {
  if (typeof value !== "string" || value.length > MAX_NAME_LENGTH) {
    throw new EvaluationError(`${field} is not a text of at most ${MAX_NAME_LENGTH} characters: ${describe(value)}`);
  }
}
