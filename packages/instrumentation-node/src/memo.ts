import type { PolicyEvaluator, Verdict } from "@otel-audit/policy";

import type { Actor } from "./identity/actor.ts";

/**
 * What is worked out about an action once. A driver that hands out the same `ObservedAction` object again and again, for
 * the same call on the same target, puts an empty one into it.
 */
export class Memo {
  /** What a record says of the action, for one actor and one verdict (which also says what kind of action it is). */
  encoded: Uint8Array | undefined = undefined;
  encodedVerdict: Verdict | undefined = undefined;
  encodedActor: Actor | undefined = undefined;
  /** The latest verdict, and for whom it is. */
  verdict: Verdict | undefined = undefined;
  policy: PolicyEvaluator | undefined = undefined;
  actor: Actor | undefined = undefined;
  tool: string | undefined = undefined;
}
