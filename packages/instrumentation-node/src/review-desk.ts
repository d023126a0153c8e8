import type { NamedApprover, ReviewRequest } from "./approver.ts";
import { nowMicros } from "./clock.ts";
import type { Actor } from "./identity.ts";
import { newRecordId } from "./ids.ts";
import { type Begun, MAX_TARGET_ID } from "./record-encoder.ts";
import { redactCredentials } from "./redaction.ts";
import type { ReviewResult, Reviews } from "./reviews.ts";
import { bound } from "./text.ts";

/** Puts on record that somebody was asked, and what came of it. False: it could not be written. */
export interface ReviewRecords {
  reviewRequested(review: OpenReview): boolean;
  reviewDecided(review: OpenReview, result: ReviewResult): boolean;
}

/** A review that somebody can decide. */
export interface Review {
  /** `audit.review.id`. */
  readonly id: string;
  /** Asks, after the intent of the action was written. */
  ask(): Promise<ReviewResult>;
}

/** A question that is about to be asked. */
export interface OpenReview {
  /** `audit.review.id`. */
  readonly id: string;
  readonly approver: NamedApprover;
  /** The action that waits. */
  readonly reviewed: Reviewed;
}

type Reviewed = Omit<Begun, "sequence">;

/** As many targets of one action are put to an approver. */
const MAX_TARGETS = 100;

/** Where actions wait for an approver: asks, and keeps the minutes. */
export class ReviewDesk {
  readonly #reviews: Reviews;
  readonly #records: ReviewRecords;

  constructor(reviews: Reviews, records: ReviewRecords) {
    this.#reviews = reviews;
    this.#records = records;
  }

  /** Opens the review of an action; a text says why nobody can be asked. */
  open(reviewed: Reviewed): Review | string {
    const approver = this.#reviews.available;
    if (typeof approver === "string") return approver;
    const id = newRecordId(nowMicros());
    return { id, ask: () => this.#ask({ id, approver, reviewed }) };
  }

  async #ask(review: OpenReview): Promise<ReviewResult> {
    if (!this.#records.reviewRequested(review)) return UNRECORDED;
    const result = await this.#reviews.ask(review.approver, requestOf(review));
    // An approval that nobody can be shown afterwards is none.
    return this.#records.reviewDecided(review, result) ? result : UNRECORDED;
  }
}

const UNRECORDED: ReviewResult = {
  decision: "rejected",
  by: undefined,
  reason: "the record of the review could not be written",
};

function requestOf({ id, reviewed }: OpenReview): ReviewRequest {
  const { actor, verdict } = reviewed;
  return {
    reviewId: id,
    recordId: reviewed.recordId,
    event: reviewed.event,
    action: reviewed.action,
    targets: reviewed.targets.slice(0, MAX_TARGETS).map(({ type, id: target, access }) => ({
      type,
      id: bound(type === "file" ? target : redactCredentials(target), MAX_TARGET_ID),
      ...(access !== undefined && { access }),
    })),
    ...(actor !== undefined && whoOf(actor)),
    policy: { id: verdict.policyId, version: verdict.policyVersion },
    rule: verdict.ruleId,
    reason: verdict.reason,
  };
}

function whoOf(actor: Actor): Pick<ReviewRequest, "actor" | "onBehalfOf" | "workflow"> {
  const { onBehalfOf, onBehalfOfType, workflowName, workflowId } = actor;
  return {
    actor: {
      id: actor.id,
      type: actor.type,
      ...(actor.name !== undefined && { name: actor.name }),
      ...(actor.chain.length > 0 && { chain: actor.chain }),
    },
    ...(onBehalfOf !== undefined && {
      onBehalfOf: { id: onBehalfOf, ...(onBehalfOfType !== undefined && { type: onBehalfOfType }) },
    }),
    ...((workflowName !== undefined || workflowId !== undefined) && {
      workflow: {
        ...(workflowName !== undefined && { name: workflowName }),
        ...(workflowId !== undefined && { id: workflowId }),
      },
    }),
  };
}
