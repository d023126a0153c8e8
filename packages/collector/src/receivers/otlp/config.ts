import { z } from "zod";
import { protocolAddress, type Address, type UnixAddress } from "../../config/address.ts";
import { duration } from "../../config/duration.ts";
import { tlsConfig } from "../../config/tls.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const DAY_MS = 86_400_000;
const period = duration({ min: 1_000, max: DAY_MS });

/** What every protocol has; names as in otelcol's confignet, configtls and configauth. */
const listening = {
  /** tcp: `host:port`. unix: the path of a socket, which only the user of this process can open. */
  transport: z.enum(["tcp", "unix"]).default("tcp"),
  tls: tlsConfig.optional(),
  auth: z
    .strictObject({
      /** An extension that knows credentials; every request is shown to it before its body is read. */
      authenticator: z.string().min(1),
    })
    .optional(),
};

const httpConfig = z
  .strictObject({
    endpoint: z.string().default("127.0.0.1:4318"),
    ...listening,
    /** Bytes of a request's body, before and after decompression; 64 MiB as the OTLP specification recommends. */
    max_request_body_size: z
      .number()
      .int()
      .min(KIB)
      .max(256 * MIB)
      .default(64 * MIB),
  })
  .transform(withAddress);

const grpcConfig = z
  .strictObject({
    endpoint: z.string().default("127.0.0.1:4317"),
    ...listening,
    /** MiB of a message, before and after decompression; 64 as the OTLP specification recommends (otelcol has 4). */
    max_recv_msg_size_mib: z.number().int().min(1).max(256).default(64),
    /** Requests under way on one connection; a client waits with more. */
    max_concurrent_streams: z.number().int().min(1).max(10_000).default(100),
    keepalive: z
      .strictObject({
        server_parameters: z
          .strictObject({
            /** A connection without requests is ended after it. otelcol never ends one. */
            max_connection_idle: period.prefault("10m"),
            /** Every connection is ended after it, so that clients spread over several collectors again. Default: never. */
            max_connection_age: period.optional(),
            /** What is under way on a connection that is being ended has so long. */
            max_connection_age_grace: period.prefault("30s"),
            /** A connection on which nothing came for so long is pinged, */
            time: period.prefault("2h"),
            /** and cut when nothing comes for so long after that. */
            timeout: period.prefault("20s"),
          })
          .prefault({}),
        enforcement_policy: z
          .strictObject({
            /** A client that pings more often than this, time and again, is cut. */
            min_time: duration({ min: 0, max: DAY_MS }).prefault("5m"),
            /** Whether a client may ping while it has no request under way. */
            permit_without_stream: z.boolean().default(false),
          })
          .prefault({}),
      })
      .prefault({}),
  })
  .transform(withAddress);

/** A key without a value turns a protocol on with its defaults, as in otelcol; a protocol without a key is off. */
const named = (value: unknown): unknown => value ?? {};

export const otlpConfig = z.strictObject({
  protocols: z
    .strictObject({
      grpc: z.preprocess(named, grpcConfig).optional(),
      http: z.preprocess(named, httpConfig).optional(),
    })
    .refine(({ grpc, http }) => grpc !== undefined || http !== undefined, {
      error: "must specify at least one protocol: grpc or http",
    }),
  /**
   * Bytes of all requests that are being received or handled at one time, inflated ones included, by all protocols and
   * workers; more is refused for now. Logs and metrics may use half of it, so that audit records always find room.
   */
  max_in_flight_bytes: z
    .number()
    .int()
    .min(KIB)
    .default(512 * MIB),
});
export type OtlpConfig = z.output<typeof otlpConfig>;
export type HttpConfig = z.output<typeof httpConfig>;
export type GrpcConfig = z.output<typeof grpcConfig>;

interface Listening {
  readonly endpoint: string;
  readonly transport: "tcp" | "unix";
  readonly tls?: z.output<typeof tlsConfig> | undefined;
  readonly auth?: { readonly authenticator: string } | undefined;
}

function withAddress<T extends Listening>(
  config: T,
  context: z.RefinementCtx,
): Omit<T, "endpoint"> & { readonly endpoint: Address | UnixAddress } {
  const { transport, auth, tls } = config;
  const authenticates = auth !== undefined || tls?.client_ca_file !== undefined;
  const endpoint = protocolAddress(config.endpoint, { transport, authenticates });
  if (typeof endpoint !== "string") return { ...config, endpoint };
  context.addIssue({ code: "custom", path: ["endpoint"], message: endpoint });
  return z.NEVER;
}
