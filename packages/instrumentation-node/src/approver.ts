import { AsyncLocalStorage } from "node:async_hooks";
import type { Agent, IncomingMessage } from "node:http";

import type { AuditAction, AuditActorType } from "@otel-audit/semantic-conventions";

import { http, https } from "./builtins.ts";
import { actorOf, runIn } from "./identity.ts";
import { redactCredentials } from "./redaction.ts";
import { cleanName } from "./text.ts";
import { withoutDebugSpans } from "./trace-context.ts";
import { property } from "./unknown.ts";

/** What an approver is asked. It holds no secrets: ids of resources, no query strings, headers, bodies, SQL or contents. */
export interface ReviewRequest {
  /** `audit.review.id` of the records about this review. */
  readonly reviewId: string;
  /** `audit.record.id` of the action that waits. */
  readonly recordId: string;
  /** `audit.event.name`. */
  readonly event: string;
  readonly action: AuditAction;
  readonly targets: readonly { readonly type: string; readonly id: string; readonly access?: "read" | "write" }[];
  /** Absent where no agent is in context. */
  readonly actor?: {
    readonly id: string;
    readonly type: AuditActorType;
    readonly name?: string;
    readonly chain?: readonly string[];
  };
  readonly onBehalfOf?: { readonly id: string; readonly type?: AuditActorType };
  readonly workflow?: { readonly name?: string; readonly id?: string };
  readonly policy: { readonly id: string; readonly version: string };
  /** Id of the rule that wants the review. */
  readonly rule: string;
  /** Why it does. */
  readonly reason: string;
}

/** What an approver answers. Anything else, and any failure, is a deny. */
export interface ReviewAnswer {
  readonly decision: "allow" | "deny";
  /** Who decided, by convention `user:<name>`: the actor of the `review.decided` record. Not empty. */
  readonly by: string;
  /** For the record. */
  readonly reason?: string | undefined;
}

/**
 * Decides on actions that a rule wants reviewed. What it does itself is recorded and judged as `system:approver`; an
 * action of its own that needs a review is denied.
 *
 * @param signal aborted when the time for an answer is over
 */
export type Approver = (request: ReviewRequest, signal: AbortSignal) => ReviewAnswer | Promise<ReviewAnswer>;

/** An approver and its name for the record. */
export interface NamedApprover {
  readonly name: string;
  ask(request: ReviewRequest, signal: AbortSignal): Promise<unknown>;
}

/** An endpoint's answer may be this long, in bytes. */
const MAX_ANSWER_BYTES = 64 * 1024;
/** As much of a reason is kept, in bytes. */
const MAX_REASON = 1024;

/** Inside an approver: what needs a review here has nobody to ask. */
const asking = new AsyncLocalStorage<boolean>();

/** Whether the code that runs now belongs to an approver. */
export function isApprover(): boolean {
  return asking.getStore() === true;
}

const APPROVER_ACTOR = actorOf({ id: "system:approver", type: "system" }, undefined);

/** A function of the application. What it does has the action that waits as its cause. */
export function functionApprover(approver: Approver): NamedApprover {
  return {
    name: "function",
    ask: async (request, signal) => {
      const scope = { actor: APPROVER_ACTOR, quiet: false, cause: { recordId: request.recordId, tool: undefined } };
      return asking.run(true, () => runIn(scope, () => approver(request, signal)));
    },
  };
}

// Taken before anything is patched, as our own traffic is nobody's action.
const originals = { "http:": http.request, "https:": https.request } as const;

/** Asks by POST: the request as JSON, 200 with the answer as JSON. Redirects are not followed. */
export function endpointApprover(url: URL, headers: Readonly<Record<string, string>>): NamedApprover {
  const protocol = url.protocol === "https:" ? "https:" : "http:";
  // Without keep-alive: a question in hours should not find a connection that was closed meanwhile.
  const options = { keepAlive: false, maxSockets: 64 };
  const agent: Agent = protocol === "https:" ? new https.Agent(options) : new http.Agent(options);
  return {
    name: `${url.origin}${url.pathname}`,
    ask: (request, signal) => {
      const body = Buffer.from(JSON.stringify(request));
      const all = { "content-type": "application/json", accept: "application/json", ...headers };
      return withoutDebugSpans(
        () =>
          new Promise((resolve, reject) => {
            const sent = originals[protocol](
              url,
              { method: "POST", agent, signal, headers: { ...all, "content-length": body.length } },
              (response) => {
                readJson(response).then(resolve, reject);
              },
            );
            sent.on("error", reject);
            sent.end(body);
          }),
      );
    },
  };
}

function readJson(response: IncomingMessage): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const fail = (why: string): void => {
      response.destroy();
      reject(new Error(why));
    };
    if (response.statusCode !== 200) {
      fail(`the approver answered with status ${response.statusCode ?? 0}`);
      return;
    }
    const chunks: Buffer[] = [];
    let size = 0;
    response.on("data", (chunk: Buffer) => {
      size += chunk.length;
      if (size > MAX_ANSWER_BYTES) fail(`the approver's answer has more than ${MAX_ANSWER_BYTES} bytes`);
      else chunks.push(chunk);
    });
    response.on("error", reject);
    response.on("close", () => reject(new Error("the approver's answer ended early")));
    response.on("end", () => {
      try {
        const answer: unknown = JSON.parse(Buffer.concat(chunks).toString("utf8"));
        resolve(answer);
      } catch {
        reject(new Error("the approver's answer is not JSON"));
      }
    });
  });
}

/** Checks what an approver answered. @throws Error that says what is wrong with it */
export function readAnswer(answer: unknown): ReviewAnswer {
  // Each read once: it may be an object of the application, with getters.
  const decision = property(answer, "decision");
  const by = cleanName(property(answer, "by"));
  const reason = property(answer, "reason");
  if (decision !== "allow" && decision !== "deny") throw new Error(`the approver's decision is neither allow nor deny`);
  if (by === undefined) throw new Error("the approver did not say who decided");
  if (reason !== undefined && reason !== null && typeof reason !== "string") {
    throw new Error("the approver's reason is not a text");
  }
  const text = cleanName(reason, MAX_REASON);
  return { decision, by, reason: text === undefined ? undefined : redactCredentials(text) };
}
