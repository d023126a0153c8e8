import type { AuditReviewDecision } from "@otel-audit/semantic-conventions";

import { isApprover, type NamedApprover, readAnswer, type ReviewRequest } from "./approver.ts";
import { asOurselves } from "./identity.ts";
import { redactCredentials } from "./redaction.ts";
import { clearTimeout, setTimeout } from "./pristine.ts";

/** How a review ended. */
export interface ReviewResult {
  readonly decision: AuditReviewDecision;
  /** Who decided; undefined when nobody did, because the approver failed or was too slow. */
  readonly by: string | undefined;
  readonly reason: string | undefined;
}

interface ReviewsOptions {
  /** Whom to ask; undefined: there is nobody. */
  readonly approver: () => NamedApprover | undefined;
  /** For how long, in milliseconds. */
  readonly timeoutMs: number;
}

/** As many actions may wait at the same time: each holds a connection, a timer and what the application wants to send. */
export const MAX_PENDING = 1000;

/** Actions that wait for somebody's decision. */
export class Reviews {
  readonly #options: ReviewsOptions;
  #pending = 0;

  constructor(options: ReviewsOptions) {
    this.#options = options;
  }

  /** Whom a question would go to now, or why nobody can be asked, as the end of a sentence. */
  get available(): NamedApprover | string {
    const approver = this.#options.approver();
    if (approver === undefined) return "no approver is configured";
    if (isApprover()) return "it is an action of the approver itself";
    if (this.#pending >= MAX_PENDING) return `${MAX_PENDING} actions are waiting already`;
    return approver;
  }

  /** Asks. Never rejects: whatever goes wrong is a refusal. Keeps the process alive until there is an answer. */
  async ask(approver: NamedApprover, request: ReviewRequest): Promise<ReviewResult> {
    this.#pending++;
    const patience = new AbortController();
    let timer: NodeJS.Timeout | undefined;
    try {
      // Outside the context of the action: neither the approver nor our connection to it acts for the agent.
      return await asOurselves(() => {
        const late = new Promise<ReviewResult>((resolve) => {
          const { timeoutMs } = this.#options;
          const expired = { decision: "expired", by: undefined, reason: `no answer within ${timeoutMs} ms` } as const;
          timer = setTimeout(() => resolve(expired), timeoutMs);
        });
        return Promise.race([decide(approver, request, patience.signal), late]);
      });
    } finally {
      this.#pending--;
      clearTimeout(timer);
      patience.abort();
    }
  }
}

async function decide(approver: NamedApprover, request: ReviewRequest, signal: AbortSignal): Promise<ReviewResult> {
  try {
    // Not on the stack of the action that waits.
    await Promise.resolve();
    const { decision, by, reason } = readAnswer(await approver.ask(request, signal));
    return { decision: decision === "allow" ? "approved" : "rejected", by, reason };
  } catch (error) {
    return { decision: "rejected", by: undefined, reason: failure(error) };
  }
}

/** Never throws, whatever the application's function threw. */
function failure(error: unknown): string {
  try {
    const message = error instanceof Error ? error.message : String(error);
    return redactCredentials(`the approver failed: ${message}`.slice(0, 500));
  } catch {
    return "the approver failed";
  }
}
