import type { Logger } from "pino";
import type { z } from "zod";
import type { Address, UnixAddress } from "./config/address.ts";
import type { Memory, MemoryPool } from "./memory.ts";
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

/** What OTLP carries. Only traces are read here; logs and metrics pass as bytes. */
export const SIGNALS = ["traces", "logs", "metrics"] as const;
export type Signal = (typeof SIGNALS)[number];

/** One export request of logs or metrics: the bytes that came, after decompression, never decoded. */
export interface SignalBatch {
  readonly signal: Exclude<Signal, "traces">;
  readonly bytes: Uint8Array;
  /** Of the bytes; the destination gets them with the same type. */
  readonly contentType: "application/x-protobuf" | "application/json";
  /** What the bytes lie in, when they are used again afterwards; absent: they stay what they are. */
  readonly memory?: Memory | undefined;
}

/**
 * Takes debug telemetry other than spans. An exporter takes it at once and drops what it has no room for, counted; a
 * rejection (memory limiter) is retryable. The bytes may be used only until the promise settles, as with `Consumer`.
 */
export interface SignalConsumer {
  forward(batch: SignalBatch): Promise<void>;
}

/** The pipelines that a receiver feeds; absent: no pipeline of that signal has it as a receiver. */
export interface Next {
  readonly traces?: Consumer;
  readonly logs?: SignalConsumer;
  readonly metrics?: SignalConsumer;
}

/** Life cycle of everything that a configuration names. `shutdown` may be called without `start`, and twice. */
export interface Component {
  /** The longest that `shutdown` may take; default 15,000. */
  readonly shutdownMs?: number;
  start(): Promise<void>;
  shutdown(): Promise<void>;
}

/** What a component is given when it is created. */
export interface CreateContext {
  /** `type` or `type/name`, as configured. */
  readonly id: string;
  readonly log: Logger;
  readonly telemetry: Telemetry;
  /** The collector's data directory, absolute; this process holds its lock. */
  readonly dataDir: string;
  /** For bytes of requests; shared by the service. */
  readonly memory: MemoryPool;
  /** Added to every port that a component listens on. */
  readonly portOffset: number;
  /** The worker thread that this component runs in. `index` is from 0 to `count - 1`. */
  readonly worker: { readonly index: number; readonly count: number };
  /** Connections that a server of a receiver has room for; the other files of the process are for logs and exporters. */
  readonly maxConnections: number;
  /**
   * The same memory for this component in all workers, zeroed at first. Only in `create` and `start`: worker 0 has started
   * before the others are created.
   */
  shared(name: string, byteLength: number): SharedArrayBuffer;
  /** What this component's part in the supervisor has told last. */
  told<T>(topic: Topic<T>): T | undefined;
  /** An extension that is configured in the same service: its part in this worker. */
  extension(id: string): Component | undefined;
  /** Where a component says that it does not work, and that it works again; shown by health checks. */
  readonly health: Health;
}

/** What a component's part in the supervisor tells to those in the workers, by structured clone. */
export interface Topic<T> {
  readonly name: string;
  /** Only for the type; never set. */
  readonly value?: T;
}

/** What the part of a component is given that runs once, in the supervisor's thread. */
export interface SupervisorContext extends Pick<
  CreateContext,
  "id" | "log" | "telemetry" | "dataDir" | "portOffset" | "health"
> {
  /** The component in every worker gets this, those that start later too. */
  tell<T>(topic: Topic<T>, value: T): void;
  /** An extension that is configured in the same service: its part in the supervisor. */
  extension(id: string): Component | undefined;
}

/** Reasons why the service is not healthy, by component id. */
export interface Health {
  set(component: string, problem: string | undefined): void;
  problems(): ReadonlyMap<string, string>;
}

/** An address with the path of its setting in the component's part of the configuration. */
export interface Listening {
  readonly setting: readonly string[];
  readonly address: Address | UnixAddress;
}

/** An extension that a component works with, and the setting that names it. */
export interface Needed {
  readonly setting: string;
  readonly id: string;
  readonly type: string;
}

interface FactoryBase<Config> {
  readonly type: string;
  /** Strict schema of the component's part of the YAML, with its defaults. */
  readonly schema: z.ZodType<Config>;
  /** Why a service has at most one of this type; absent: it may have several. */
  readonly alone?: string;
  /** Where it listens; absent: nowhere. */
  listens?(config: Config): readonly Listening[];
  /** What of the component exists once for all workers. It starts before the workers and stops after them. */
  supervise?(config: Config, context: SupervisorContext): Component;
}

export interface ReceiverFactory<Config> extends FactoryBase<Config> {
  readonly kind: "receiver";
  /** Whose pipelines may list it. */
  readonly signals: readonly Signal[];
  /** The addresses of its servers, which every worker has. */
  listens(config: Config): readonly Listening[];
  create(config: Config, next: Next, context: CreateContext): Receiver;
}

export interface ProcessorFactory<Config> extends FactoryBase<Config> {
  readonly kind: "processor";
  create(config: Config, next: Consumer, context: CreateContext): Component & Consumer;
  /** For pipelines of logs and metrics; absent: it works on traces only. */
  createForSignals?(config: Config, next: SignalConsumer, context: CreateContext): Component & SignalConsumer;
}

export interface ExporterFactory<Config> extends FactoryBase<Config> {
  readonly kind: "exporter";
  /** Whose pipelines may list it; it has `forward` when logs or metrics are among them. */
  readonly signals: readonly Signal[];
  /** Why it does not take a signal with this configuration; undefined: it does. */
  refuses?(config: Config, signal: Signal): string | undefined;
  /** The extension that it cannot do without; undefined: none with this configuration. */
  needs?(config: Config): Needed | undefined;
  create(config: Config, context: CreateContext): Exporter;
}

/** An exporter of one pipeline and a receiver of others. */
export interface ConnectorFactory<Config> extends FactoryBase<Config> {
  readonly kind: "connector";
  /** The pipelines that its configuration names; each has to list the connector as a receiver. */
  pipelines(config: Config): readonly string[];
  /** Those of them that get audit spans. */
  auditPipelines(config: Config): readonly string[];
  create(config: Config, next: ReadonlyMap<string, Consumer>, context: CreateContext): Component & Consumer;
}

export interface ExtensionFactory<Config> extends FactoryBase<Config> {
  readonly kind: "extension";
  /** It is an Authenticator (auth.ts), which receivers can name. */
  readonly authenticates?: true;
  /** What of it exists in every worker; absent: nothing. */
  create?(config: Config, context: CreateContext): Component;
}

/** Base URLs of a receiver's protocols; absent: it does not listen. */
export interface ReceiverEndpoints {
  readonly otlpHttp?: string;
  readonly otlpGrpc?: string;
}

export interface Receiver extends Component {
  /** Where it listens, after `start`. */
  readonly endpoints: ReceiverEndpoints;
}

export interface Exporter extends Component, Consumer, Partial<SignalConsumer> {
  /** Waits until all that was accepted has left; false after `timeoutMs`. An exporter without a store of its own has none. */
  drain?(timeoutMs: number): Promise<boolean>;
}
