import type { X509Certificate } from "node:crypto";

/** What a connection shows of who is at its other end. */
export interface Peer {
  /** The Authorization header (gRPC: metadata) as it came; two of them are two identities and none: pass what was joined. */
  readonly authorization: string | undefined;
  /** The client's certificate, only when TLS has verified it against `client_ca_file`. */
  readonly certificate: X509Certificate | undefined;
}

/** What a credential may send beside the records of its own agents. */
export const ROLES = ["policy", "review", "keys", "retention"] as const;
export type Role = (typeof ROLES)[number];

/** Who a request comes from, as its credential says. The same object for every request of a credential. */
export interface Principal {
  /** The credential's id: the `Principal` column of its records. */
  readonly id: string;
  /** Empty where there are no tenants. */
  readonly tenant: string;
  readonly roles: ReadonlySet<Role>;
  /** The agents that it belongs to, as configured: ids or patterns. */
  readonly agents: readonly string[];
  /** Whether it may speak for this actor. */
  speaksFor(actorId: string, actorType: string): boolean;
  /** Counts these records against its rate limit. Throws AuthError `rate_limited`, and then nothing was counted. */
  admit(records: number): void;
  /** Takes back what `admit` counted, for records that were not taken after all. */
  refund(records: number): void;
  /** Counts bytes of its requests under way, or takes them back (a negative number); how many there are now, in all workers. */
  hold(bytes: number): number;
  /** It was used in the name of an agent that it does not belong to: whether that is worth a record, or known already. */
  isNewMisuse(actorId: string): boolean;
}

/** An extension that a receiver can name under `auth::authenticator`. */
export interface Authenticator {
  /** Throws AuthError. */
  authenticate(peer: Peer): Principal;
}

export function isAuthenticator(component: object | undefined): component is Authenticator {
  return component !== undefined && "authenticate" in component && typeof component.authenticate === "function";
}

/**
 * - `unauthenticated`: nobody, or nobody that is known (401, UNAUTHENTICATED)
 * - `forbidden`: known, and may not do this (403, PERMISSION_DENIED)
 * - `rate_limited`: may do it later (429, RESOURCE_EXHAUSTED with RetryInfo)
 */
type AuthErrorKind = "unauthenticated" | "forbidden" | "rate_limited";

/** Why a request is refused for what its sender is. The message is for the sender and holds no secret. */
export class AuthError extends Error {
  override readonly name = "AuthError";
  readonly kind: AuthErrorKind;
  /** When to come again, at least 1; only of `rate_limited`. */
  readonly retryAfterMs: number | undefined;

  constructor(kind: AuthErrorKind, message: string, options: { retryAfterMs?: number } = {}) {
    super(message);
    this.kind = kind;
    this.retryAfterMs = options.retryAfterMs;
  }
}
