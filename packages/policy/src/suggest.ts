/** `, did you mean "resource"?` for the nearest of the valid words, or nothing when none is near. */
export function suggest(word: string, valid: Iterable<string>): string {
  const nearest = nearestOf(word, valid);
  return nearest === undefined ? "" : `, did you mean ${JSON.stringify(nearest)}?`;
}

function nearestOf(word: string, valid: Iterable<string>): string | undefined {
  // Long words are never a typo of ours, and the distance is quadratic.
  if (word.length > 64) {
    return undefined;
  }
  const given = word.toLowerCase();
  const most = Math.max(1, Math.floor(given.length / 3));
  let best: string | undefined;
  let bestDistance = most + 1;
  for (const candidate of valid) {
    const distance = editDistance(given, candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** Insertions, deletions, replacements and swaps of neighbours (optimal string alignment). */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1];
      let distance = Math.min(
        (last[column] ?? 0) + 1,
        (current[column - 1] ?? 0) + 1,
        (last[column - 1] ?? 0) + (same ? 0 : 1),
      );
      if (row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]) {
        distance = Math.min(distance, (beforeLast[column - 2] ?? 0) + 1);
      }
      current.push(distance);
    }
    beforeLast = last;
    last = current;
  }
  return last[b.length] ?? 0;
}
