import { setTimeout as sleep } from "node:timers/promises";
import { applySchema, type ClickHouseConnection, type ConnectionSource } from "@otel-audit/exporter-clickhouse";
import { z } from "zod";
import type { CreateContext, Needed } from "../component.ts";
import { clientTlsConfig } from "../config/tls.ts";
import { CollectorError } from "../errors.ts";
import { ClientTls } from "./client-tls.ts";
import { EngineConnection } from "../extensions/clickhouse_embedded/connection.ts";
import { ClickhouseEmbedded } from "../extensions/clickhouse_embedded/engine.ts";

/** Milliseconds that a start waits for ClickHouse. */
const PATIENCE_MS = 5_000;

/** Where a ClickHouse exporter writes: the embedded engine of this service, or a server. */
export const destinationShape = {
  /** Id of a `clickhouse_embedded` extension. */
  engine: z.string().min(1).optional(),
  /** URL of a ClickHouse server's HTTP interface. */
  endpoint: z
    .url({ protocol: /^https?$/ })
    .refine(isServer, "has more than http(s)://host:port: a path would become the database, a query change settings")
    .optional(),
  username: z.string().optional(),
  password: z.string().optional(),
  /** Of a server: with `cert_file` and no password the certificate says who the user is. */
  tls: clientTlsConfig.optional(),
  /** Of the tables; letters, digits and underscores. */
  database: z
    .string()
    .regex(/^[A-Za-z_][A-Za-z0-9_]{0,62}$/)
    .default("otel_audit"),
  /** Of a server: the tables are replicated on this cluster, with a distributed one before them; inserts wait for a quorum. */
  cluster: z
    .string()
    .regex(/^[A-Za-z0-9_-]{1,128}$/)
    .optional(),
  /** Create what is missing at start; false where the schema is applied by somebody with more rights (`otel-audit schema print`). */
  create_schema: z.boolean().default(true),
};

/** Of a text that is no URL at all something else is said. */
function isServer(text: string): boolean {
  if (!URL.canParse(text)) return true;
  const { pathname, search, hash } = new URL(text);
  return pathname === "/" && search === "" && hash === "";
}

type DestinationContext = Pick<CreateContext, "id" | "log" | "health" | "extension">;
type DestinationConfig = z.output<z.ZodObject<typeof destinationShape>>;

/** Exactly one of `engine` and `endpoint`, with what belongs to a server only with the latter. */
export function oneDestination(config: {
  engine?: string | undefined;
  endpoint?: string | undefined;
  cluster?: string | undefined;
  tls?: unknown;
}): boolean {
  if (config.engine !== undefined && config.cluster !== undefined) return false;
  if (config.tls !== undefined && config.endpoint?.startsWith("https:") !== true) return false;
  return (config.engine === undefined) !== (config.endpoint === undefined);
}
export const ONE_DESTINATION =
  "needs exactly one of engine (the id of a clickhouse_embedded extension) and endpoint (the URL of a ClickHouse server, with cluster where it has one, and tls where it is https)";

/** The embedded engine that is written to, where it is one. */
export function neededEngine({ engine }: DestinationConfig): Needed | undefined {
  return engine === undefined ? undefined : { setting: "engine", id: engine, type: "clickhouse_embedded" };
}

/** The connection of a configured destination, in a worker or the supervisor; that of an embedded engine is another one after a restart. */
export function resolveConnection(config: DestinationConfig, context: DestinationContext): ConnectionSource {
  if (config.endpoint !== undefined) return serverConnection(config, config.endpoint, context);
  const engine = context.extension(config.engine!);
  if (!(engine instanceof ClickhouseEmbedded || engine instanceof EngineConnection)) {
    throw new CollectorError("INTERNAL", `exporter "${context.id}" was created without its engine "${config.engine}"`);
  }
  return () => engine.connection;
}

/**
 * Waits for what a start asks of ClickHouse, but not for long: neither one that is away nor one that never answers may keep
 * a collector from listening. What takes longer goes on, until `signal` ends it with the collector.
 */
export async function waitAtStart(asked: Promise<unknown>, tooLong: () => void, signal?: AbortSignal): Promise<void> {
  const inTime = await Promise.race([
    asked.then(() => true),
    sleep(PATIENCE_MS, false, { ref: false, ...(signal && { signal }) }).catch(() => true),
  ]);
  if (!inTime) tooLong();
}

/** Creates what is missing on a server, where that is configured; an embedded engine creates its tables itself. */
export async function createSchema(
  config: DestinationConfig,
  context: DestinationContext,
  signal?: AbortSignal,
): Promise<void> {
  if (config.endpoint !== undefined && config.create_schema)
    await applySchema(serverConnection(config, config.endpoint, context), {
      ...(config.cluster !== undefined && { cluster: config.cluster }),
      signal,
    });
}

function serverConnection(
  config: DestinationConfig,
  url: string,
  { id, log, health }: DestinationContext,
): ClickHouseConnection {
  const tls = config.tls && new ClientTls(`exporters::${id}::tls`, config.tls, { log, health });
  return {
    url,
    database: config.database,
    ...(config.username !== undefined && { username: config.username }),
    ...(config.password !== undefined && { password: config.password }),
    ...(tls && { tls: () => tls.options }),
  };
}
