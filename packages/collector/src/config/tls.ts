import { z } from "zod";
import { duration } from "./duration.ts";

const common = {
  min_version: z.enum(["1.2", "1.3"]).default("1.2"),
  /** How often the files are looked at; changed ones serve new connections, those that are open stay. */
  reload_interval: duration({ min: 100, max: 86_400_000 }).prefault("30s"),
};

/** The TLS of a server, in the words of otelcol's configtls. */
export const tlsConfig = z.strictObject({
  /** PEM, the server's certificate first, then those that lead to its authority. */
  cert_file: z.string().min(1),
  /** PEM, without a passphrase. */
  key_file: z.string().min(1),
  /** PEM. With it every client has to show a certificate that these authorities have signed (mTLS). */
  client_ca_file: z.string().min(1).optional(),
  ...common,
});
export type TlsConfig = z.output<typeof tlsConfig>;

/** The TLS of a client, in the words of otelcol's configtls. */
export const clientTlsConfig = z
  .strictObject({
    /** PEM. Only what these authorities have signed is trusted; absent: those that Node brings. */
    ca_file: z.string().min(1).optional(),
    /** PEM. What this client shows (mTLS), its own certificate first. */
    cert_file: z.string().min(1).optional(),
    /** PEM, without a passphrase. */
    key_file: z.string().min(1).optional(),
    /** The name that the server's certificate has to have, instead of the host of the endpoint. */
    server_name_override: z.string().min(1).optional(),
    /** Whoever answers is believed: for tests. */
    insecure_skip_verify: z.boolean().default(false),
    ...common,
  })
  .refine((tls) => (tls.cert_file === undefined) === (tls.key_file === undefined), {
    error: "needs both of cert_file and key_file, or none",
  });
export type ClientTlsConfig = z.output<typeof clientTlsConfig>;
