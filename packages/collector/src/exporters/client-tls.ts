import type { ConnectionOptions } from "node:tls";
import type { ClientTlsConfig } from "../config/tls.ts";
import { PemFiles, type PemContext } from "../service/pem-files.ts";

/** How connections to a server are made; the files are looked at again when one is made. */
export class ClientTls {
  readonly #files: PemFiles;
  readonly #fixed: ConnectionOptions;

  /** As `PemFiles`. */
  constructor(what: string, config: ClientTlsConfig, context: PemContext) {
    this.#files = new PemFiles(what, config, context);
    const name = config.server_name_override;
    this.#fixed = { rejectUnauthorized: !config.insecure_skip_verify, ...(name !== undefined && { servername: name }) };
    if (config.insecure_skip_verify) context.log.warn(`${what}::insecure_skip_verify: whoever answers is believed`);
  }

  /** For the next connection. */
  get options(): ConnectionOptions {
    return { ...this.#files.fresh(), ...this.#fixed };
  }
}
