import { setFlagsFromString } from "node:v8";

/**
 * The heap that lives is small (20 MB) and the young generation (16 MB) almost as large as what V8 would let it grow by. V8
 * starts to mark as soon as less than a young generation is left, so it would mark the whole heap again and again: about a
 * third of the collector's CPU under load. Room for four times what lives costs 80 MB at most as long as that stays so.
 */
const FLAGS = ["--heap-growing-percent=400"];

/** V8's settings of the whole process; those of threads are the same when they start afterwards. */
export function setV8Flags(): void {
  for (const flag of FLAGS) setFlagsFromString(flag);
}
