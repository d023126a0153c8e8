import type {
  ConnectorFactory,
  ExporterFactory,
  ExtensionFactory,
  ProcessorFactory,
  ReceiverFactory,
} from "./component.ts";
import { auditRouterFactory } from "./connectors/audit_router/factory.ts";
import { clickhouseAuditFactory } from "./exporters/clickhouse_audit/factory.ts";
import { clickhouseTracesFactory } from "./exporters/clickhouse_traces/factory.ts";
import { otlphttpFactory } from "./exporters/otlphttp/factory.ts";
import { auditCredentialsFactory } from "./extensions/audit_credentials/factory.ts";
import { clickhouseEmbeddedFactory } from "./extensions/clickhouse_embedded/factory.ts";
import { healthCheckFactory } from "./extensions/health_check/factory.ts";
import { auditFactory } from "./processors/audit/factory.ts";
import { memoryLimiterFactory } from "./processors/memory_limiter/factory.ts";
import { otlpFactory } from "./receivers/otlp/factory.ts";

interface FactoryOf {
  receiver: ReceiverFactory<unknown>;
  processor: ProcessorFactory<unknown>;
  exporter: ExporterFactory<unknown>;
  connector: ConnectorFactory<unknown>;
  extension: ExtensionFactory<unknown>;
}
export type ComponentKind = keyof FactoryOf;

/** Every component that a configuration can name. */
const COMPONENTS: { readonly [Kind in ComponentKind]: readonly FactoryOf[Kind][] } = {
  receiver: [otlpFactory],
  processor: [auditFactory, memoryLimiterFactory],
  exporter: [
    clickhouseAuditFactory,
    clickhouseTracesFactory,
    otlphttpFactory,
    // otelcol's name for it since 2026.
    { ...otlphttpFactory, type: "otlp_http" },
  ],
  connector: [auditRouterFactory],
  extension: [auditCredentialsFactory, clickhouseEmbeddedFactory, healthCheckFactory],
};

/** The factories of one kind by their type. */
export function factories<Kind extends ComponentKind>(kind: Kind): ReadonlyMap<string, FactoryOf[Kind]> {
  return new Map(COMPONENTS[kind].map((factory) => [factory.type, factory]));
}
