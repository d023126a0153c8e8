import { z } from "zod";
import { SIGNALS, type Signal } from "../component.ts";
import { anyAddress } from "./address.ts";
import { tlsConfig } from "./tls.ts";

/** The sections of a configuration and what is in them. */
export const SECTIONS = {
  receivers: "receiver",
  processors: "processor",
  exporters: "exporter",
  connectors: "connector",
  extensions: "extension",
} as const;
export type Section = keyof typeof SECTIONS;
export const SECTION_NAMES = [
  "receivers",
  "processors",
  "exporters",
  "connectors",
  "extensions",
] as const satisfies readonly Section[];

/** As many as the ledger has room for in its window. */
const MAX_WORKERS = 64;

const componentIds = z.array(z.string()).default([]);
const componentMap = z
  .record(z.string(), z.unknown())
  .nullish()
  .transform((map) => map ?? {});

const prometheusReader = z.strictObject({
  pull: z.strictObject({
    exporter: z.strictObject({
      prometheus: z
        .strictObject({ host: z.string().default("localhost"), port: z.number().int().default(8888) })
        .transform(({ host, port }) => `${host.includes(":") ? `[${host}]` : host}:${port}`)
        .pipe(anyAddress),
    }),
  }),
});

const metricsConfig = z
  .strictObject({
    /** `none`: no /metrics. The others mean the same here: all there are. */
    level: z.enum(["none", "basic", "normal", "detailed"]).default("normal"),
    /** Where /metrics is; absent: nowhere. */
    address: anyAddress.optional(),
    /** Of /metrics. With `client_ca_file` only those read it who have a certificate. */
    tls: tlsConfig.optional(),
    /** The same as newer otelcols write it. */
    readers: z
      .array(prometheusReader)
      .max(1, "has more than one reader; there is one address for /metrics")
      .default([]),
  })
  .transform(({ level, address, readers, tls }) => ({
    address: level === "none" ? undefined : (address ?? readers[0]?.pull.exporter.prometheus),
    tls,
  }));

export const documentSchema = z.strictObject({
  receivers: componentMap,
  processors: componentMap,
  exporters: componentMap,
  connectors: componentMap,
  extensions: componentMap,
  service: z.strictObject({
    /** Threads that each run all pipelines. */
    workers: z.number().int().min(1).max(MAX_WORKERS).default(1),
    extensions: componentIds,
    pipelines: z.record(
      z.string(),
      z.strictObject({ receivers: componentIds, processors: componentIds, exporters: componentIds }),
    ),
    telemetry: z
      .strictObject({
        metrics: metricsConfig.prefault({}),
        logs: z
          .strictObject({
            level: z.enum(["debug", "info", "warn", "error", "silent"]).default("info"),
            /** `console`: a line for people, in colour on a terminal. */
            encoding: z.enum(["json", "console"]).default("json"),
          })
          .prefault({}),
      })
      .prefault({}),
  }),
});

export type ServiceConfig = z.output<typeof documentSchema>["service"];

/** A validated configuration: every component's part has its defaults, every reference has something to refer to. */
export interface CollectorConfig extends Readonly<Record<Section, ReadonlyMap<string, unknown>>> {
  readonly service: ServiceConfig;
}

/** `otlp/internal` is a component of type `otlp`. */
export function componentType(id: string): string {
  return id.split("/", 1)[0]!;
}

/** `logs/debug` is a pipeline of logs. */
export function signalOf(pipeline: string): Signal | undefined {
  return SIGNALS.find((signal) => signal === componentType(pipeline));
}
