/**
 * Sorts the row numbers in `order[from, to)` by their times; those of equal times keep their order. Records of one actor come
 * almost in order, and what is in order is only looked at.
 *
 * @param spare as long as `order`.
 */
export function sortByTime(
  order: Uint32Array,
  from: number,
  to: number,
  times: Float64Array,
  spare: Uint32Array,
): void {
  let sortedTo = from + 1;
  while (sortedTo < to && times[order[sortedTo - 1]!]! <= times[order[sortedTo]!]!) sortedTo++;
  if (sortedTo >= to) return;
  const middle = (from + to) >> 1;
  // Of a sorted half nothing more is to be found out.
  if (sortedTo < middle) sortByTime(order, from, middle, times, spare);
  sortByTime(order, middle, to, times, spare);
  merge(order, from, middle, to, times, spare);
}

function merge(
  order: Uint32Array,
  from: number,
  middle: number,
  to: number,
  times: Float64Array,
  spare: Uint32Array,
): void {
  spare.set(order.subarray(from, middle), from);
  let left = from;
  let right = middle;
  for (let at = from; left < middle; at++) {
    const takeRight = right < to && times[order[right]!]! < times[spare[left]!]!;
    order[at] = takeRight ? order[right++]! : spare[left++]!;
  }
}
