import { compileAgents } from "@otel-audit/policy";
import { AuthError, type Principal, type Role } from "../../auth.ts";
import type { CredentialConfig } from "./config.ts";
import type { SharedState } from "./shared-state.ts";

/** One configured credential, and who holds it. */
export class Credential implements Principal {
  readonly id: string;
  readonly tenant: string;
  readonly roles: ReadonlySet<Role>;
  readonly agents: readonly string[];
  readonly #config: CredentialConfig;
  readonly #covers: (actorId: string, actorType: string) => boolean;
  readonly #state: SharedState;
  readonly #slot: number;

  constructor(config: CredentialConfig, state: SharedState) {
    this.id = config.id;
    this.tenant = config.tenant ?? "";
    this.roles = new Set(config.roles);
    this.agents = config.agents;
    this.#config = config;
    this.#covers = compileAgents(config.agents);
    this.#state = state;
    this.#slot = state.slot(config.id);
  }

  get tokenHashes(): readonly string[] {
    return this.#config.token_sha256 ?? [];
  }

  get certificate(): CredentialConfig["certificate"] {
    return this.#config.certificate;
  }

  speaksFor(actorId: string, actorType: string): boolean {
    return this.#covers(actorId, actorType);
  }

  admit(records: number): void {
    const limit = this.#config.rate_limit;
    if (limit === undefined || records === 0) return;
    const retryAfterMs = this.#state.take(this.#slot, records, limit);
    if (retryAfterMs === 0) return;
    const { recordsPerSecond, burst } = limit;
    const message = `credential "${this.id}" sends more than its rate_limit (${recordsPerSecond} records a second, burst ${burst})`;
    throw new AuthError("rate_limited", message, { retryAfterMs });
  }

  refund(records: number): void {
    const limit = this.#config.rate_limit;
    if (limit !== undefined && records > 0) this.#state.giveBack(this.#slot, records, limit);
  }

  hold(bytes: number): number {
    return this.#state.hold(this.#slot, bytes);
  }

  isNewMisuse(actorId: string): boolean {
    return this.#state.isNewMisuse(this.#slot, actorId);
  }
}
