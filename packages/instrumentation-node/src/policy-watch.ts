import * as fs from "node:fs";

import type { PolicyMode } from "@otel-audit/policy";

import { type Gate, loadGate, parseGate } from "./gate.ts";

/** How often the file is looked at, in milliseconds. A change is in force after two looks. */
export const LOOK_EVERY_MS = 1000;
/** Policies are smaller: what is larger is not read. */
const MAX_BYTES = 1024 * 1024;

/** What became of a change of the policy's file. */
export interface PolicyChange {
  readonly gate: Gate;
  /** Undefined: `gate` is in force now. Else what is wrong with the file; the policy before it stays. */
  readonly error: Error | undefined;
}

// As they were before anybody patched them: what is judged by must not come from a replaced function.
const { readFileSync, statSync } = fs;

/**
 * The policy, read again when its file changes. Looking at the file is what works everywhere: `fs.watch` misses changes
 * on network file systems and of mounted secrets, and follows the old file when an editor puts a new one in its place.
 *
 * Editors and copies write in place, and a half-written YAML document may be a valid one with fewer rules: a change is
 * read when two looks in a row saw the same file, and taken when it parses.
 */
export class PolicyWatch {
  readonly #file: string | undefined;
  readonly #mode: PolicyMode | undefined;
  readonly #onChange: (change: PolicyChange) => void;
  #gate: Gate;
  /** The state of the file that was read last. */
  #read: string;
  /** The state that the last look saw. */
  #seen: string;
  /** The text that could not be used, or why there was none: it is reported once. */
  #refused: string | undefined;

  /** @param onChange hears of every change, also of one that cannot be used; it must not throw */
  constructor(file: string | undefined, mode: PolicyMode | undefined, onChange: (change: PolicyChange) => void) {
    this.#file = file;
    this.#mode = mode;
    this.#onChange = onChange;
    // Before the text: a change in between is seen by the next look.
    this.#read = this.#seen = file === undefined ? "" : stateOf(file);
    this.#gate = loadGate(file, mode);
  }

  /** What judges now. */
  get gate(): Gate {
    return this.#gate;
  }

  /** Looks at the file; called at intervals. */
  look(): void {
    const file = this.#file;
    if (file === undefined) return;
    const state = stateOf(file);
    const isSettled = state === this.#seen;
    this.#seen = state;
    if (!isSettled || state === this.#read) return;
    this.#read = state;
    let text: string;
    try {
      text = readText(file);
    } catch (cause) {
      this.#refuse(state, cause);
      return;
    }
    // Changed while it was read: the next looks see to it.
    if (stateOf(file) === state) this.#take(file, text);
  }

  #take(file: string, text: string): void {
    if (text === this.#gate.text) {
      // Only touched, or put back after something else was there.
      if (this.#refused !== undefined && this.#gate.error === undefined) this.#put(this.#gate);
      return;
    }
    try {
      this.#put(parseGate(text, file, this.#mode));
    } catch (error) {
      this.#refuse(text, error);
    }
  }

  #put(gate: Gate): void {
    this.#refused = undefined;
    this.#gate = gate;
    this.#onChange({ gate, error: undefined });
  }

  #refuse(what: string, cause: unknown): void {
    if (what === this.#refused) return;
    this.#refused = what;
    const error = cause instanceof Error ? cause : new Error(String(cause));
    this.#onChange({ gate: this.#gate, error });
  }
}

/** @throws what the file system throws; an Error for what cannot be a policy */
function readText(file: string): string {
  const stat = statSync(file);
  // Whoever puts a pipe in the place of the policy must not make us wait for it.
  if (!stat.isFile()) throw new Error(`${file} is not a regular file`);
  if (stat.size > MAX_BYTES) throw new Error(`${file} has ${stat.size} bytes, at most ${MAX_BYTES} are read`);
  return readFileSync(file, "utf8");
}

/** Changes whenever the file may have: another file, another size, another time of change. */
function stateOf(file: string): string {
  try {
    const { dev, ino, size, mtimeMs, ctimeMs } = statSync(file);
    return `${dev}:${ino}:${size}:${mtimeMs}:${ctimeMs}`;
  } catch (error) {
    return error instanceof Error && "code" in error ? String(error.code) : "unknown";
  }
}
