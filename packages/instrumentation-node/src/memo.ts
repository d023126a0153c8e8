import type { PolicyEvaluator, Verdict } from "@otel-audit/policy";
import type { AuditAction } from "@otel-audit/semantic-conventions";

import type { Actor } from "./identity/actor.ts";

/**
 * What is worked out about an action once. A driver that hands out the same `ObservedAction` object again and again, for
 * the same call on the same target, puts an empty one into it.
 */
export class Memo {
  /** What a record says of the action itself, encoded; for `encodedAction`, which a policy may have changed. */
  encoded: Uint8Array | undefined = undefined;
  encodedAction: AuditAction | undefined = undefined;
  /** The latest verdict, and for whom it is. */
  verdict: Verdict | undefined = undefined;
  policy: PolicyEvaluator | undefined = undefined;
  actor: Actor | undefined = undefined;
  tool: string | undefined = undefined;
}
