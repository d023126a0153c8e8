import { z } from "zod";
import { duration } from "./duration.ts";

/** The TLS of a server, in the words of otelcol's configtls. */
export const tlsConfig = z.strictObject({
  /** PEM, the server's certificate first, then those that lead to its authority. */
  cert_file: z.string().min(1),
  /** PEM, without a passphrase. */
  key_file: z.string().min(1),
  /** PEM. With it every client has to show a certificate that these authorities have signed (mTLS). */
  client_ca_file: z.string().min(1).optional(),
  min_version: z.enum(["1.2", "1.3"]).default("1.2"),
  /** How often the files are looked at; changed ones serve new connections, those that are open stay. */
  reload_interval: duration({ min: 100, max: 86_400_000 }).prefault("30s"),
});
export type TlsConfig = z.output<typeof tlsConfig>;
