import type { PolicyAction, PolicyTarget, Verdict } from "./types.ts";

/** As many verdicts are kept twice over: those used since the last turn, and those used before it. */
const GENERATION = 1024;
/** Actions with more targets, or longer ids, are judged anew: they seldom come again, and would fill the memory. */
const MAX_TARGETS = 4;
const MAX_ID_LENGTH = 1024;
/** Verdicts about one target. */
const MAX_OF_TARGET = 16;

/** What the verdict depends on, as it was: callers may use their objects again. */
interface Entry {
  readonly event: string;
  readonly action: string;
  readonly actorId: string;
  readonly actorType: string;
  readonly onBehalfOf: string | undefined;
  readonly workflow: string | undefined;
  readonly tool: string | undefined;
  readonly chain: readonly string[] | undefined;
  readonly targets: readonly PolicyTarget[];
  readonly verdict: Verdict;
}

/**
 * Verdicts on the actions that were judged lately. Judging is a function of the action alone, and agents do the same
 * things to the same resources over and over: looking it up is a tenth of the cost of matching the rules again.
 */
export class Memo {
  #young = new Map<string, Entry[]>();
  #old = new Map<string, Entry[]>();
  #count = 0;

  get(action: PolicyAction): Verdict | undefined {
    const id = action.targets[0]?.id;
    if (id === undefined) return undefined;
    const entries = this.#young.get(id);
    const entry = entries && find(entries, action);
    return entry === undefined ? this.#again(id, action) : entry.verdict;
  }

  put(action: PolicyAction, verdict: Verdict): void {
    const { targets } = action;
    if (targets.length === 0 || targets.length > MAX_TARGETS) return;
    for (const { id } of targets) if (id.length > MAX_ID_LENGTH) return;
    this.#keep({
      event: action.event,
      action: action.action,
      actorId: action.actorId,
      actorType: action.actorType,
      onBehalfOf: action.onBehalfOf,
      workflow: action.workflow,
      tool: action.tool,
      chain: action.actorChain === undefined ? undefined : [...action.actorChain],
      targets: targets.map(({ type, id, access, recursive }) => ({ type, id, access, recursive })),
      verdict,
    });
  }

  /** What was used before the last turn and is used now lives on. */
  #again(id: string, action: PolicyAction): Verdict | undefined {
    const entries = this.#old.get(id);
    const entry = entries && find(entries, action);
    if (entry !== undefined) this.#keep(entry);
    return entry?.verdict;
  }

  #keep(entry: Entry): void {
    if (this.#count >= GENERATION) {
      this.#old = this.#young;
      this.#young = new Map();
      this.#count = 0;
    }
    const id = entry.targets[0]!.id;
    const entries = this.#young.get(id);
    if (entries === undefined) this.#young.set(id, [entry]);
    else if (entries.length < MAX_OF_TARGET) entries.push(entry);
    else return;
    this.#count++;
  }
}

function find(entries: readonly Entry[], action: PolicyAction): Entry | undefined {
  for (let index = 0; index < entries.length; index++) {
    const entry = entries[index]!;
    if (
      entry.event === action.event &&
      entry.action === action.action &&
      entry.actorId === action.actorId &&
      entry.actorType === action.actorType &&
      entry.onBehalfOf === action.onBehalfOf &&
      entry.workflow === action.workflow &&
      entry.tool === action.tool &&
      isSameChain(entry.chain, action.actorChain) &&
      isSameTargets(entry.targets, action.targets)
    ) {
      return entry;
    }
  }
  return undefined;
}

function isSameChain(a: readonly string[] | undefined, b: readonly string[] | undefined): boolean {
  if (a === undefined || b === undefined || a.length !== b.length) return a === b;
  for (let index = 0; index < a.length; index++) if (a[index] !== b[index]) return false;
  return true;
}

function isSameTargets(a: readonly PolicyTarget[], b: readonly PolicyTarget[]): boolean {
  if (a.length !== b.length) return false;
  for (let index = 0; index < a.length; index++) {
    const one = a[index]!;
    const other = b[index]!;
    if (one.id !== other.id || one.type !== other.type) return false;
    if (one.access !== other.access || one.recursive !== other.recursive) return false;
  }
  return true;
}
