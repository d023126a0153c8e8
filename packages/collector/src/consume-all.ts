import type { Consumer, Rejection } from "./component.ts";
import type { TraceBatch } from "./trace-batch.ts";

/**
 * Gives a batch to all and waits until none works on it any more, also when one has failed: the batch's memory takes the
 * next request then. Throws the first failure.
 */
export async function consumeAll(consumers: readonly Consumer[], batch: TraceBatch): Promise<readonly Rejection[]> {
  if (consumers.length === 1) return consumers[0]!.consume(batch);
  const results = await Promise.allSettled(consumers.map((consumer) => consumer.consume(batch)));
  return results.flatMap((result) => {
    if (result.status === "rejected") throw result.reason;
    return result.value;
  });
}
