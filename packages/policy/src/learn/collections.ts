// Node 20 has neither Map.groupBy nor Set.isSubsetOf.

/** The values by key, in the order in which the keys came first. */
export function groupBy<T, K>(values: Iterable<T>, key: (value: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>();
  for (const value of values) {
    const own = groups.get(key(value));
    if (own === undefined) {
      groups.set(key(value), [value]);
    } else {
      own.push(value);
    }
  }
  return groups;
}

export function isSubset<T>(inner: ReadonlySet<T>, outer: ReadonlySet<T>): boolean {
  return inner.size <= outer.size && [...inner].every((value) => outer.has(value));
}

/** The same on every machine, unlike localeCompare. */
export function compareText(a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1;
}

/** Each text once. */
export function sorted(texts: Iterable<string>): string[] {
  return [...new Set(texts)].toSorted(compareText);
}
