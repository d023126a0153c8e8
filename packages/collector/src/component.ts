import type { Logger } from "pino";
import type { z } from "zod";
import type { MemoryPool } from "./memory.ts";
import type { Telemetry } from "./service/telemetry.ts";
import type { TraceBatch } from "./trace-batch.ts";

/** Spans that will never be accepted, told to the client as OTLP `partial_success`. */
export interface Rejection {
  readonly spans: number;
  readonly reason: string;
}

/**
 * Takes a batch. The promise resolves when the consumer has taken responsibility (an audit exporter: when the records
 * are on disk) and rejects with a retryable error when the client has to keep the batch and send it again.
 * The batch's bytes and index may be used only until the promise settles, and nothing may use them after that: their
 * memory then takes the next request. Who needs the bytes for longer holds `batch.memory`.
 */
export interface Consumer {
  consume(batch: TraceBatch): Promise<readonly Rejection[]>;
}

/** Life cycle of everything that a configuration names. `shutdown` may be called without `start`, and twice. */
export interface Component {
  start(): Promise<void>;
  shutdown(): Promise<void>;
}

/** What a component is given when it is created. */
export interface CreateContext {
  /** `type` or `type/name`, as configured. */
  readonly id: string;
  readonly log: Logger;
  readonly telemetry: Telemetry;
  /** The collector's data directory, absolute. */
  readonly dataDir: string;
  /** For bytes of requests; shared by the service. */
  readonly memory: MemoryPool;
  /** Added to every port that a component listens on. */
  readonly portOffset: number;
  /** An extension that is configured in the same service. */
  extension(id: string): Component | undefined;
  /** The data directory of a component of this service failed or recovered; shown by health checks. */
  readonly health: Health;
}

/** Reasons why the service is not healthy, by component id. */
export interface Health {
  set(component: string, problem: string | undefined): void;
  problems(): ReadonlyMap<string, string>;
}

interface FactoryBase<Config> {
  readonly type: string;
  /** Strict schema of the component's part of the YAML, with its defaults. */
  readonly schema: z.ZodType<Config>;
}

export interface ReceiverFactory<Config> extends FactoryBase<Config> {
  readonly kind: "receiver";
  create(config: Config, next: Consumer, context: CreateContext): Receiver;
}

export interface ProcessorFactory<Config> extends FactoryBase<Config> {
  readonly kind: "processor";
  create(config: Config, next: Consumer, context: CreateContext): Component & Consumer;
}

export interface ExporterFactory<Config> extends FactoryBase<Config> {
  readonly kind: "exporter";
  create(config: Config, context: CreateContext): Exporter;
}

/** An exporter of one pipeline and a receiver of others. */
export interface ConnectorFactory<Config> extends FactoryBase<Config> {
  readonly kind: "connector";
  /** The pipelines that its configuration names; each has to list the connector as a receiver. */
  pipelines(config: Config): readonly string[];
  create(config: Config, next: ReadonlyMap<string, Consumer>, context: CreateContext): Component & Consumer;
}

export interface ExtensionFactory<Config> extends FactoryBase<Config> {
  readonly kind: "extension";
  create(config: Config, context: CreateContext): Component;
}

export interface Receiver extends Component {
  /** Where it listens, after `start`. */
  readonly endpoint: string | undefined;
}

export interface Exporter extends Component, Consumer {
  /** Waits until all that was accepted has left; false after `timeoutMs`. An exporter without a store of its own has none. */
  drain?(timeoutMs: number): Promise<boolean>;
}

export type Factory<Config> =
  | ReceiverFactory<Config>
  | ProcessorFactory<Config>
  | ExporterFactory<Config>
  | ConnectorFactory<Config>
  | ExtensionFactory<Config>;
