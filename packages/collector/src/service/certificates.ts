import { readFileSync } from "node:fs";
import { createSecureContext, type SecureContextOptions, type Server, type TlsOptions } from "node:tls";
import type { Logger } from "pino";
import type { TlsConfig } from "../config/tls.ts";
import { CollectorError, errorMessage } from "../errors.ts";

/** A client that does not finish its handshake holds a connection for so long. */
const HANDSHAKE_TIMEOUT_MS = 10_000;

/** What is in the files. */
interface Pems extends SecureContextOptions {
  readonly cert: string;
  readonly key: string;
  readonly ca?: string;
}

/** The certificates of a TLS server, read again when their files change. */
export class Certificates {
  readonly #config: TlsConfig;
  readonly #what: string;
  readonly #log: Logger;
  #context: Pems;
  /** What was last said about files that cannot be used: said once, not every interval. */
  #problem: string | undefined;
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param what the setting that holds the configuration, for errors
   * @throws CollectorError `INVALID_CONFIG` when a file cannot be read or key and certificate do not belong together
   */
  constructor(what: string, config: TlsConfig, log: Logger) {
    this.#what = what;
    this.#config = config;
    this.#log = log;
    this.#context = this.#read();
  }

  /** For the server that `watch` is called with later. */
  get serverOptions(): TlsOptions {
    const clients = this.#config.client_ca_file !== undefined;
    return {
      ...this.#context,
      requestCert: clients,
      rejectUnauthorized: clients,
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
    };
  }

  /** Looks at the files from now on. By time, not by events: a mounted secret changes by a link two directories up. */
  watch(server: Server): void {
    this.#timer ??= setInterval(() => this.#reload(server), this.#config.reload_interval);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #reload(server: Server): void {
    try {
      const context = this.#read();
      if (this.#problem === undefined && same(context, this.#context)) return;
      this.#problem = undefined;
      this.#context = context;
      server.setSecureContext(context);
      this.#log.info({ tls: this.#what }, "certificates were read again");
    } catch (error) {
      const problem = errorMessage(error);
      if (problem === this.#problem) return;
      this.#problem = problem;
      this.#log.error({ tls: this.#what, err: error }, "the certificates cannot be used; the ones before stay in use");
    }
  }

  #read(): Pems {
    const { min_version: version, client_ca_file: clients } = this.#config;
    const context: Pems = {
      cert: this.#file(this.#config.cert_file, "cert_file"),
      key: this.#file(this.#config.key_file, "key_file"),
      ...(clients !== undefined && { ca: this.#file(clients, "client_ca_file") }),
      minVersion: `TLSv${version}`,
    };
    try {
      // The server would throw away its certificates before it looks at these.
      createSecureContext(context);
    } catch (cause) {
      throw new CollectorError("INVALID_CONFIG", `${this.#what}: ${describe(this.#config)}: ${errorMessage(cause)}`, {
        cause,
      });
    }
    return context;
  }

  #file(path: string, name: keyof TlsConfig): string {
    try {
      return readFileSync(path, "utf8");
    } catch (cause) {
      throw new CollectorError("INVALID_CONFIG", `${this.#what}::${name}: ${errorMessage(cause)}`, { cause });
    }
  }
}

function describe({ cert_file: cert, key_file: key, client_ca_file: ca }: TlsConfig): string {
  return [cert, key, ...(ca === undefined ? [] : [ca])].map((path) => `"${path}"`).join(", ");
}

function same(a: Pems, b: Pems): boolean {
  return a.cert === b.cert && a.key === b.key && a.ca === b.ca;
}
