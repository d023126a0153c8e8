import type {
  Component,
  Consumer,
  CreateContext,
  Exporter,
  Next,
  Receiver,
  SignalConsumer,
  Topic,
} from "../component.ts";
import { factories, type ComponentKind } from "../components.ts";
import { componentType, signalOf, type CollectorConfig } from "../config/schema.ts";
import { consumeAll } from "../consume-all.ts";
import { componentKey } from "./messages.ts";
import type { SharedMemory } from "./shared-memory.ts";

const SHUTDOWN_MS = 15_000;

interface SharedContext extends Omit<CreateContext, "id" | "extension" | "shared" | "told"> {
  readonly sharedMemory: SharedMemory;
  /** By `componentKey`. */
  readonly told: ReadonlyMap<string, unknown>;
}

/** The components of a worker in the order in which they start: downstream before upstream. */
export interface Graph {
  readonly receivers: readonly Receiver[];
  readonly exporters: readonly Exporter[];
  /** The longest that `shutdown` may take. */
  readonly shutdownMs: number;
  start(): Promise<void>;
  shutdown(): Promise<void>;
}

/** Creates what the configuration names and connects it; nothing is started. */
export function buildGraph(config: CollectorConfig, shared: SharedContext): Graph {
  const builder = new GraphBuilder(config, shared);
  return builder.build();
}

/** Servers of all receivers in one worker. */
export function countServers({ receivers }: CollectorConfig): number {
  return [...receivers].flatMap(([id, config]) => factories("receiver").get(componentType(id))!.listens(config)).length;
}

class GraphBuilder {
  /** In order of creation, which is downstream first: a component is created after all that it sends to. */
  readonly #order: Component[] = [];
  readonly #extensions = new Map<string, Component>();
  readonly #exporters = new Map<string, Exporter>();
  readonly #connectors = new Map<string, Component & Consumer>();
  readonly #pipelines = new Map<string, Consumer>();
  readonly #signalPipelines = new Map<string, SignalConsumer>();
  readonly #config: CollectorConfig;
  readonly #shared: SharedContext;

  constructor(config: CollectorConfig, shared: SharedContext) {
    this.#config = config;
    this.#shared = shared;
  }

  build(): Graph {
    const { service, receivers: receiverConfigs } = this.#config;
    for (const id of service.extensions) {
      const factory = factories("extension").get(componentType(id))!;
      const extension = factory.create?.(this.#config.extensions.get(id), this.#context("extension", id));
      if (extension) this.#extensions.set(id, this.#add(extension));
    }
    for (const name of Object.keys(service.pipelines)) {
      if (signalOf(name) === "traces") this.#pipeline(name);
      else this.#signalPipelines.set(name, this.#signalPipeline(name));
    }
    const receivers: Receiver[] = [];
    for (const [id, config] of receiverConfigs) {
      const next = this.#next(id);
      if (Object.keys(next).length === 0) continue;
      const factory = factories("receiver").get(componentType(id))!;
      receivers.push(this.#add(factory.create(config, next, this.#context("receiver", id))));
    }
    const order = this.#order;
    return {
      receivers,
      exporters: [...this.#exporters.values()],
      shutdownMs: order.reduce((sum, { shutdownMs = SHUTDOWN_MS }) => sum + shutdownMs, 0),
      start: async () => {
        for (const component of order) await component.start();
      },
      shutdown: () => shutdownAll(order.toReversed()),
    };
  }

  /** Every pipeline that lists a receiver, by signal. */
  #next(receiver: string): Next {
    const names = Object.entries(this.#config.service.pipelines)
      .filter(([, { receivers }]) => receivers.includes(receiver))
      .map(([name]) => name);
    const traces = names.flatMap((name) => this.#pipelines.get(name) ?? []);
    const passed = (signal: "logs" | "metrics"): SignalConsumer[] =>
      names.filter((name) => signalOf(name) === signal).map((name) => this.#signalPipelines.get(name)!);
    const logs = passed("logs");
    const metrics = passed("metrics");
    return {
      ...(traces.length > 0 && { traces: fanOut(traces) }),
      ...(logs.length > 0 && { logs: fanOutSignals(logs) }),
      ...(metrics.length > 0 && { metrics: fanOutSignals(metrics) }),
    };
  }

  /** Logs or metrics: no connectors, and only components whose factories say that they take them. */
  #signalPipeline(name: string): SignalConsumer {
    const { processors, exporters } = this.#config.service.pipelines[name]!;
    let head = fanOutSignals(
      exporters.map((id) => {
        const exporter = this.#exporter(id);
        return { forward: (batch) => exporter.forward!(batch) };
      }),
    );
    for (const id of processors.toReversed()) {
      const factory = factories("processor").get(componentType(id))!;
      head = this.#add(
        factory.createForSignals!(this.#config.processors.get(id), head, this.#context("processor", id)),
      );
    }
    return head;
  }

  #pipeline(name: string): Consumer {
    const built = this.#pipelines.get(name);
    if (built) return built;
    const { processors, exporters } = this.#config.service.pipelines[name]!;
    let head = fanOut(exporters.map((id) => this.#sink(id)));
    for (const id of processors.toReversed()) {
      const factory = factories("processor").get(componentType(id))!;
      head = this.#add(factory.create(this.#config.processors.get(id), head, this.#context("processor", id)));
    }
    this.#pipelines.set(name, head);
    return head;
  }

  /** An exporter, or a connector with all pipelines behind it. */
  #sink(id: string): Consumer {
    if (this.#config.exporters.has(id)) return this.#exporter(id);
    const existing = this.#connectors.get(id);
    if (existing) return existing;
    const factory = factories("connector").get(componentType(id))!;
    const config = this.#config.connectors.get(id);
    const next = new Map(factory.pipelines(config).map((name) => [name, this.#pipeline(name)]));
    const connector = this.#add(factory.create(config, next, this.#context("connector", id)));
    this.#connectors.set(id, connector);
    return connector;
  }

  #exporter(id: string): Exporter {
    const existing = this.#exporters.get(id);
    if (existing) return existing;
    const factory = factories("exporter").get(componentType(id))!;
    const exporter = this.#add(factory.create(this.#config.exporters.get(id), this.#context("exporter", id)));
    this.#exporters.set(id, exporter);
    return exporter;
  }

  #context(kind: ComponentKind, id: string): CreateContext {
    const { sharedMemory, told, ...rest } = this.#shared;
    return {
      ...rest,
      id,
      log: rest.log.child({ component: id }),
      shared: (name, byteLength) => sharedMemory.get(componentKey(kind, id, name), byteLength),
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- each value was told under the topic of its type
      told: <T>({ name }: Topic<T>) => told.get(componentKey(kind, id, name)) as T | undefined,
      extension: (other) => this.#extensions.get(other),
    };
  }

  #add<T extends Component>(component: T): T {
    this.#order.push(component);
    return component;
  }
}

/** Every consumer gets the batch; it is taken when all have taken it. */
function fanOut(consumers: readonly Consumer[]): Consumer {
  if (consumers.length === 1) return consumers[0]!;
  return { consume: (batch) => consumeAll(consumers, batch) };
}

function fanOutSignals(consumers: readonly SignalConsumer[]): SignalConsumer {
  if (consumers.length === 1) return consumers[0]!;
  return {
    forward: async (batch) => {
      const results = await Promise.allSettled(consumers.map((consumer) => consumer.forward(batch)));
      for (const result of results) if (result.status === "rejected") throw result.reason;
    },
  };
}

/** Every component gets its chance to stop; the first error is thrown at the end. */
export async function shutdownAll(components: readonly Component[]): Promise<void> {
  const errors: unknown[] = [];
  for (const component of components) {
    try {
      await component.shutdown();
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length > 0) throw errors[0];
}
