import type { Component, SupervisorContext } from "../component.ts";
import { factories, type ComponentKind } from "../components.ts";
import { componentType, type CollectorConfig } from "../config/schema.ts";
import { shutdownAll } from "./graph.ts";
import { componentKey } from "./messages.ts";

type SharedSupervisorContext = Omit<SupervisorContext, "id" | "extension" | "tell">;

/** The parts of components that exist once a process: extensions first, in their order, then what the pipelines use. */
export class Supervised {
  /** What was told so far, by `componentKey`. */
  readonly told = new Map<string, unknown>();
  readonly #extensions = new Map<string, Component>();
  readonly #order: Component[] = [];
  readonly #shared: SharedSupervisorContext;
  readonly #onTold: (key: string, value: unknown) => void;

  /** Creates the parts; nothing is started. */
  constructor(config: CollectorConfig, shared: SharedSupervisorContext, onTold: (key: string, value: unknown) => void) {
    this.#shared = shared;
    this.#onTold = onTold;
    for (const id of config.service.extensions) {
      const part = this.#create("extension", id, config.extensions.get(id));
      if (part) this.#extensions.set(id, part);
    }
    const pipelines = Object.values(config.service.pipelines);
    const used = new Set(pipelines.flatMap((one) => [...one.receivers, ...one.processors, ...one.exporters]));
    const sections = {
      exporter: config.exporters,
      connector: config.connectors,
      processor: config.processors,
      receiver: config.receivers,
    } as const;
    for (const kind of ["exporter", "connector", "processor", "receiver"] as const) {
      for (const [id, value] of sections[kind]) if (used.has(id)) this.#create(kind, id, value);
    }
  }

  get extensions(): readonly Component[] {
    return [...this.#extensions.values()];
  }

  async start(): Promise<void> {
    for (const part of this.#order) await part.start();
  }

  /** After the workers. */
  shutdown(): Promise<void> {
    return shutdownAll(this.#order.toReversed());
  }

  #create(kind: ComponentKind, id: string, config: unknown): Component | undefined {
    const part = factories(kind).get(componentType(id))!.supervise?.(config, this.#context(kind, id));
    if (part) this.#order.push(part);
    return part;
  }

  #context(kind: ComponentKind, id: string): SupervisorContext {
    return {
      ...this.#shared,
      id,
      log: this.#shared.log.child({ component: id }),
      extension: (other) => this.#extensions.get(other),
      tell: ({ name }, value) => {
        const key = componentKey(kind, id, name);
        this.told.set(key, value);
        this.#onTold(key, value);
      },
    };
  }
}
