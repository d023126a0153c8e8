import { tmpdir } from "node:os";
import { pino } from "pino";
import type { Component, CreateContext, SupervisorContext, Topic } from "../component.ts";
import { MemoryPool } from "../memory.ts";
import { SharedMemory } from "../service/shared-memory.ts";
import { Telemetry } from "../service/telemetry.ts";

/** What a component gets when a test creates it outside of a service. */
export function testContext(id: string, options: Partial<CreateContext> = {}): CreateContext {
  const problems = new Map<string, string>();
  const shared = new SharedMemory();
  return {
    id,
    log: pino({ level: "silent" }),
    telemetry: new Telemetry("test"),
    dataDir: tmpdir(),
    memory: new MemoryPool(),
    portOffset: 0,
    worker: { index: 0, count: 1 },
    maxConnections: 1_000,
    shared: (name, byteLength) => shared.get(`${id}/${name}`, byteLength),
    told: () => undefined,
    extension: () => undefined,
    health: {
      set: (component, problem) =>
        void (problem === undefined ? problems.delete(component) : problems.set(component, problem)),
      problems: () => problems,
    },
    ...options,
  };
}

/** What the part of a component gets that a service has once, and what it has told, for the context of the other part. */
export function testSupervision(
  id: string,
  options: Partial<SupervisorContext> = {},
): { context: SupervisorContext; told: <T>(topic: Topic<T>) => T | undefined } {
  const told = new Map<string, unknown>();
  return {
    context: { ...testContext(id), tell: ({ name }, value) => void told.set(name, value), ...options },
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- each value was told under the topic of its type
    told: <T>({ name }: Topic<T>) => told.get(name) as T | undefined,
  };
}

/** Both parts of a component as one: they start and stop in the order in which a service does it. */
export function together<T extends Component>(supervised: Component | undefined, component: T): T {
  const start = component.start.bind(component);
  const shutdown = component.shutdown.bind(component);
  return Object.assign(component, {
    start: async () => {
      await supervised?.start();
      await start();
    },
    shutdown: async () => {
      try {
        await shutdown();
      } finally {
        await supervised?.shutdown();
      }
    },
  });
}
