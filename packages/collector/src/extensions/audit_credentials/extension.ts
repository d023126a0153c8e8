import { readFile } from "node:fs/promises";
import { AuthError, type Authenticator, type Peer, type Principal } from "../../auth.ts";
import type { Component, CreateContext } from "../../component.ts";
import { CollectorError, configError, errorMessage } from "../../errors.ts";
import { findRepetition, MAX_CREDENTIALS, type AuditCredentialsConfig, type CredentialConfig } from "./config.ts";
import { Credential } from "./credential.ts";
import { parseCredentials } from "./credentials-file.ts";
import { Directory } from "./directory.ts";
import { SharedState } from "./shared-state.ts";

/** Milliseconds between two log lines about senders that are not known. */
const WARN_EVERY_MS = 10_000;

/** Who may send, and as whom: an authenticator for receivers, by tokens and client certificates. */
export class AuditCredentials implements Component, Authenticator {
  readonly #config: AuditCredentialsConfig;
  readonly #context: CreateContext;
  readonly #state: SharedState;
  #directory: Directory;
  #timer: NodeJS.Timeout | undefined;
  /** The file's text that is in force. */
  #text: string | undefined;
  #trouble = "";
  #refused = 0;
  #warnedAt = Number.NEGATIVE_INFINITY;

  constructor(config: AuditCredentialsConfig, context: CreateContext) {
    this.#config = config;
    this.#context = context;
    this.#state = new SharedState(context.shared("state", SharedState.byteLength));
    this.#directory = this.#build([]);
  }

  async start(): Promise<void> {
    const { file, reload_interval } = this.#config;
    if (file === undefined) return;
    try {
      await this.#load(file);
    } catch (error) {
      throw configError(["extensions", this.#context.id, "file"], errorMessage(error));
    }
    this.#again(file, reload_interval);
  }

  async shutdown(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  authenticate(peer: Peer): Principal {
    try {
      return this.#directory.find(peer);
    } catch (error) {
      if (error instanceof AuthError) this.#countRefused(error);
      throw error;
    }
  }

  #again(file: string, interval: number): void {
    this.#timer = setTimeout(() => void this.#reload(file), interval).unref();
  }

  /** A file that cannot be used leaves those in force that it had before; each trouble is told once. */
  async #reload(file: string): Promise<void> {
    const { log } = this.#context;
    const timer = this.#timer;
    try {
      const isNew = await this.#load(file);
      if (isNew || this.#trouble !== "") log.info({ file, isNew }, "credentials were read again");
      this.#trouble = "";
    } catch (error) {
      const trouble = errorMessage(error);
      if (trouble !== this.#trouble) log.error({ file, reason: trouble }, "credentials stay as they were before");
      this.#trouble = trouble;
    }
    if (timer === this.#timer) this.#again(file, this.#config.reload_interval);
  }

  /** Returns whether there is anything new in the file. */
  async #load(file: string): Promise<boolean> {
    const text = await readFile(file, "utf8");
    if (text === this.#text) return false;
    this.#directory = this.#build(parseCredentials(text, file));
    this.#text = text;
    return true;
  }

  #build(fromFile: readonly CredentialConfig[]): Directory {
    const all = [...this.#config.credentials, ...fromFile];
    const repetition = findRepetition(all);
    if (repetition !== undefined) throw new CollectorError("INVALID_CONFIG", repetition);
    if (all.length > MAX_CREDENTIALS) {
      throw new CollectorError(
        "INVALID_CONFIG",
        `there are ${all.length} credentials, at most ${MAX_CREDENTIALS} are taken`,
      );
    }
    return new Directory(all.map((one) => new Credential(one, this.#state)));
  }

  #countRefused(error: AuthError): void {
    const { telemetry, log, id } = this.#context;
    telemetry.unauthenticatedRequests.inc({ extension: id, reason: error.kind });
    this.#refused++;
    if (performance.now() - this.#warnedAt < WARN_EVERY_MS) return;
    log.warn({ reason: error.message, requests: this.#refused }, "requests are refused for who sent them");
    this.#warnedAt = performance.now();
    this.#refused = 0;
  }
}
