import { AuthError, type Authenticator, type Peer, type Principal } from "../../auth.ts";
import type { Component, CreateContext } from "../../component.ts";
import type { AuditCredentialsConfig, CredentialConfig } from "./config.ts";
import { LimitedLine } from "../../limited-line.ts";
import { Credential } from "./credential.ts";
import { FROM_FILE } from "./credentials-file.ts";
import { Directory } from "./directory.ts";
import { SharedState } from "./shared-state.ts";

/** Milliseconds between two log lines about senders that are not known. */
const WARN_EVERY_MS = 10_000;

/** Who may send, and as whom: an authenticator for receivers, by tokens and client certificates. */
export class AuditCredentials implements Component, Authenticator {
  readonly #config: AuditCredentialsConfig;
  readonly #context: CreateContext;
  readonly #state: SharedState;
  #fromFile: readonly CredentialConfig[] | undefined;
  #directory: Directory;
  readonly #refused = new LimitedLine(WARN_EVERY_MS);

  constructor(config: AuditCredentialsConfig, context: CreateContext) {
    this.#config = config;
    this.#context = context;
    this.#state = new SharedState(context.shared("state", SharedState.byteLength));
    this.#directory = this.#build([]);
  }

  async start(): Promise<void> {
    this.#follow();
  }

  async shutdown(): Promise<void> {}

  authenticate(peer: Peer): Principal {
    this.#follow();
    try {
      return this.#directory.find(peer);
    } catch (error) {
      if (error instanceof AuthError) this.#countRefused(error);
      throw error;
    }
  }

  /** Takes what the supervisor has read last. */
  #follow(): void {
    const fromFile = this.#context.told(FROM_FILE);
    if (fromFile === undefined || fromFile === this.#fromFile) return;
    this.#fromFile = fromFile;
    try {
      this.#directory = this.#build(fromFile);
    } catch (error) {
      this.#context.log.error({ err: error }, "credentials stay as they were before");
    }
  }

  #build(fromFile: readonly CredentialConfig[]): Directory {
    const all = [...this.#config.credentials, ...fromFile];
    return new Directory(all.map((one) => new Credential(one, this.#state)));
  }

  #countRefused(error: AuthError): void {
    const { telemetry, log, id } = this.#context;
    telemetry.unauthenticatedRequests.inc({ extension: id, reason: error.kind });
    const requests = this.#refused.due();
    if (requests > 0) log.warn({ reason: error.message, requests }, "requests are refused for who sent them");
  }
}
