import type { Server, TlsOptions } from "node:tls";
import type { TlsConfig } from "../config/tls.ts";
import { PemFiles, type PemContext } from "./pem-files.ts";

/** A client that does not finish its handshake holds a connection for so long. */
const HANDSHAKE_TIMEOUT_MS = 10_000;

/** The certificates of a TLS server, read again when their files change. */
export class Certificates {
  readonly #files: PemFiles;
  readonly #asksClients: boolean;

  /** As `PemFiles`. */
  constructor(what: string, config: TlsConfig, context: PemContext) {
    this.#files = new PemFiles(what, config, context);
    this.#asksClients = config.client_ca_file !== undefined;
  }

  /** For the server that `watch` is called with later. */
  get serverOptions(): TlsOptions {
    return {
      ...this.#files.current,
      requestCert: this.#asksClients,
      rejectUnauthorized: this.#asksClients,
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
    };
  }

  watch(server: Server): void {
    this.#files.watch((pems) => server.setSecureContext(pems));
  }

  stop(): void {
    this.#files.stop();
  }
}
