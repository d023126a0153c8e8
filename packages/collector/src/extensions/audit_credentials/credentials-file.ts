import { readFile } from "node:fs/promises";
import type { Component, SupervisorContext, Topic } from "../../component.ts";
import { expand } from "../../config/expand.ts";
import { parseYaml } from "../../config/yaml.ts";
import { CollectorError, configError, errorMessage } from "../../errors.ts";
import { checkTogether, credentialsFile, type AuditCredentialsConfig, type CredentialConfig } from "./config.ts";

/** Room for as many credentials as there may be. */
const MAX_BYTES = 4 * 1024 * 1024;

/** What the file has; told anew each time it has changed and can be used. */
export const FROM_FILE: Topic<readonly CredentialConfig[]> = { name: "credentials" };

/** Reads the file of credentials for all workers: to parse thousands of them takes seconds, in which a worker receives nothing. */
export class CredentialsFile implements Component {
  readonly #config: AuditCredentialsConfig;
  readonly #context: SupervisorContext;
  #timer: NodeJS.Timeout | undefined;
  /** The file's text that is in force. */
  #text: string | undefined;
  #trouble = "";

  constructor(config: AuditCredentialsConfig, context: SupervisorContext) {
    this.#config = config;
    this.#context = context;
  }

  async start(): Promise<void> {
    const { file } = this.#config;
    if (file === undefined) return;
    try {
      await this.#load(file);
    } catch (error) {
      throw configError(["extensions", this.#context.id, "file"], errorMessage(error));
    }
    this.#again(file);
  }

  async shutdown(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #again(file: string): void {
    this.#timer = setTimeout(() => void this.#reload(file), this.#config.reload_interval).unref();
  }

  /** A file that cannot be used leaves those in force that it had before; each trouble is told once. */
  async #reload(file: string): Promise<void> {
    const { log, health, id } = this.#context;
    const timer = this.#timer;
    try {
      const isNew = await this.#load(file);
      if (isNew || this.#trouble !== "") log.info({ file, isNew }, "credentials were read again");
      if (this.#trouble !== "") health.set(id, undefined);
      this.#trouble = "";
    } catch (error) {
      const trouble = errorMessage(error);
      if (trouble !== this.#trouble) {
        log.error({ file, reason: trouble }, "credentials stay as they were before");
        health.set(id, `credentials stay as they were before: ${trouble}`);
      }
      this.#trouble = trouble;
    }
    if (timer === this.#timer) this.#again(file);
  }

  /** Returns whether there is anything new in the file. */
  async #load(file: string): Promise<boolean> {
    const text = await readFile(file, "utf8");
    if (text === this.#text) return false;
    const credentials = parseCredentials(text, file);
    checkTogether([...this.#config.credentials, ...credentials]);
    this.#context.tell(FROM_FILE, credentials);
    this.#text = text;
    return true;
  }
}

/**
 * Parses a file with `credentials:`. Its errors name places and never values: what stands in the wrong place may be a token.
 *
 * @throws CollectorError `INVALID_CONFIG`
 */
export function parseCredentials(text: string, file: string): readonly CredentialConfig[] {
  const document = expand(parseYaml(text, file, MAX_BYTES), { env: process.env });
  const parsed = credentialsFile.safeParse(document ?? {});
  if (parsed.success) return parsed.data.credentials;
  const issue = parsed.error.issues[0]!;
  const problem = issue.code === "unrecognized_keys" ? `has invalid keys: ${issue.keys.join(", ")}` : issue.message;
  throw new CollectorError("INVALID_CONFIG", `${file}: ${issue.path.map(String).join("::")}: ${problem}`);
}
