import type { Health } from "../component.ts";

/** Problems by component; several parts of one component (its workers) may have one each. */
export class HealthState {
  readonly #problems = new Map<string, Map<string, string>>();

  /** What the components of one thread see: they set their own, and read all. */
  of(part: string): Health {
    return {
      set: (component, problem) => this.set(part, component, problem),
      problems: () => this.problems(),
    };
  }

  set(part: string, component: string, problem: string | undefined): void {
    const parts = this.#problems.get(component) ?? new Map<string, string>();
    if (problem === undefined) parts.delete(part);
    else parts.set(part, problem);
    if (parts.size === 0) this.#problems.delete(component);
    else this.#problems.set(component, parts);
  }

  /** A component is healthy when all of its parts are. */
  problems(): ReadonlyMap<string, string> {
    return new Map([...this.#problems].map(([id, parts]) => [id, [...new Set(parts.values())].join("; ")]));
  }
}
