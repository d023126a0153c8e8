import { parseDocument } from "./config.ts";
import { LEDGER } from "./check-audit-path.ts";
import { componentType, signalOf, type CollectorConfig } from "./schema.ts";
import { formatAddress, isLoopback } from "./address.ts";
import { expandDocument } from "./settle.ts";
import { readSources } from "./sources.ts";

export interface LoadedConfig {
  readonly config: CollectorConfig;
  /** What was read, merged and expanded, before defaults. */
  readonly document: unknown;
  /** What is probably not meant; the collector starts all the same. */
  readonly warnings: readonly string[];
}

/**
 * Reads, merges, expands and validates a configuration.
 *
 * @param uris what `--config` takes: `config.yaml`, `file:…`, `env:NAME`, `yaml:a::b: value`; the later wins
 * @param options.set what `--set` takes: `exporters.otlphttp.timeout=5s`
 * @throws CollectorError `INVALID_CONFIG` with the YAML path (or file, line and column) and the offending value
 */
export async function loadConfig(
  uris: readonly string[],
  options: { set?: readonly string[]; env?: Readonly<Record<string, string | undefined>> } = {},
): Promise<LoadedConfig> {
  const env = options.env ?? process.env;
  const warnings: string[] = [];
  const document = expandDocument(await readSources(uris, options.set ?? [], env), {
    env,
    onUnset: (name, path) =>
      warnings.push(`${path.map(String).join("::")}: the variable ${name} is not set and stands for nothing`),
  });
  const config = parseDocument(document);
  return { config, document, warnings: [...warnings, ...openMetrics(config), ...unkeptSpans(config)] };
}

function openMetrics({ service }: CollectorConfig): readonly string[] {
  const { address, tls } = service.telemetry.metrics;
  if (!address || isLoopback(address.host) || tls?.client_ca_file !== undefined) return [];
  return [
    `service::telemetry::metrics: everybody who reaches ${formatAddress(address)} can read the metrics (numbers and the names of components and credentials); set tls::client_ca_file, or let the network decide who reaches it`,
  ];
}

/** Legitimate behind an otelcol that passes only audit spans on, and otherwise a surprise. */
function unkeptSpans({ receivers, service }: CollectorConfig): readonly string[] {
  const traces = Object.entries(service.pipelines).flatMap(([name, one]) => (signalOf(name) === "traces" ? [one] : []));
  return [...receivers.keys()].flatMap((id) => {
    const exporters = traces.filter((one) => one.receivers.includes(id)).flatMap((one) => one.exporters);
    if (exporters.length === 0 || exporters.some((one) => componentType(one) !== LEDGER)) return [];
    return [
      `receivers::${id}: its spans that are no audit records are acknowledged and not kept, as all of them end in ${LEDGER}; add an audit_router, with debug pipelines or, if that is meant, without`,
    ];
  });
}
