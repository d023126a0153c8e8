import { readFileSync } from "node:fs";
import { createSecureContext, type SecureContextOptions } from "node:tls";
import type { CreateContext } from "../component.ts";
import { CollectorError, errorMessage } from "../errors.ts";

/** What is in the files. */
interface Pems extends SecureContextOptions {
  readonly cert?: string;
  readonly key?: string;
  readonly ca?: string;
}

/** The part of a `tls` setting that names files. */
interface PemConfig {
  readonly cert_file?: string | undefined;
  readonly key_file?: string | undefined;
  /** Of the other side's authorities. */
  readonly client_ca_file?: string | undefined;
  readonly ca_file?: string | undefined;
  readonly min_version: "1.2" | "1.3";
  readonly reload_interval: number;
}

/** Where trouble is told; health knows it by the setting. */
export type PemContext = Pick<CreateContext, "log" | "health">;

/** The files of a TLS server or client, read again when they change. */
export class PemFiles {
  readonly #config: PemConfig;
  readonly #what: string;
  readonly #context: PemContext;
  #pems: Pems;
  /** What was last said about files that cannot be used: said once, not every interval. */
  #problem: string | undefined;
  #timer: NodeJS.Timeout | undefined;
  #readAt = performance.now();

  /**
   * @param what the setting that holds the configuration, for errors
   * @throws CollectorError `INVALID_CONFIG` when a file cannot be read or key and certificate do not belong together
   */
  constructor(what: string, config: PemConfig, context: PemContext) {
    this.#what = what;
    this.#config = config;
    this.#context = context;
    this.#pems = this.#read();
  }

  /** As they were when they could last be used. */
  get current(): Pems {
    return this.#pems;
  }

  /** As they are now, or were at most `reload_interval` ago: for those who make connections themselves. */
  fresh(): Pems {
    if (performance.now() - this.#readAt >= this.#config.reload_interval) this.#reload(undefined);
    return this.#pems;
  }

  /** Looks at the files from now on. By time, not by events: a mounted secret changes by a link two directories up. */
  watch(changed?: (pems: Pems) => void): void {
    this.#timer ??= setInterval(() => this.#reload(changed), this.#config.reload_interval);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #reload(changed: ((pems: Pems) => void) | undefined): void {
    this.#readAt = performance.now();
    const { log, health } = this.#context;
    try {
      const pems = this.#read();
      if (this.#problem === undefined && same(pems, this.#pems)) return;
      if (this.#problem !== undefined) health.set(this.#what, undefined);
      this.#problem = undefined;
      this.#pems = pems;
      changed?.(pems);
      log.info({ tls: this.#what }, "certificates were read again");
    } catch (error) {
      const problem = errorMessage(error);
      if (problem === this.#problem) return;
      this.#problem = problem;
      log.error({ tls: this.#what, err: error }, "the certificates cannot be used; the ones before stay in use");
      health.set(this.#what, `the certificates cannot be used; the ones before stay in use: ${problem}`);
    }
  }

  #read(): Pems {
    const pems: Pems = {
      ...this.#file("cert", "cert_file"),
      ...this.#file("key", "key_file"),
      ...this.#file("ca", "client_ca_file"),
      ...this.#file("ca", "ca_file"),
      minVersion: `TLSv${this.#config.min_version}`,
    };
    try {
      // A server would throw away its certificates before it looks at these.
      createSecureContext(pems);
    } catch (cause) {
      const { cert_file: cert, key_file: key, client_ca_file: clients, ca_file: ca } = this.#config;
      const paths = [cert, key, clients, ca].flatMap((path) => (path === undefined ? [] : [`"${path}"`])).join(", ");
      throw new CollectorError("INVALID_CONFIG", `${this.#what}: ${paths}: ${errorMessage(cause)}`, { cause });
    }
    return pems;
  }

  #file(as: "cert" | "key" | "ca", name: "cert_file" | "key_file" | "client_ca_file" | "ca_file"): Pems {
    const path = this.#config[name];
    if (path === undefined) return {};
    let pem: string;
    try {
      pem = readFileSync(path, "utf8");
    } catch (cause) {
      throw new CollectorError("INVALID_CONFIG", `${this.#what}::${name}: ${errorMessage(cause)}`, { cause });
    }
    // OpenSSL takes a file without authorities, and then trusts nobody.
    if (as === "ca" && !pem.includes("-----BEGIN CERTIFICATE-----"))
      throw new CollectorError("INVALID_CONFIG", `${this.#what}::${name}: "${path}" has no certificate`);
    return { [as]: pem };
  }
}

function same(a: Pems, b: Pems): boolean {
  return a.cert === b.cert && a.key === b.key && a.ca === b.ca;
}
