import { tmpdir } from "node:os";
import { pino } from "pino";
import type { CreateContext } from "../component.ts";
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
    shared: (name, byteLength) => shared.get(`${id}/${name}`, byteLength),
    extension: () => undefined,
    health: {
      set: (component, problem) =>
        void (problem === undefined ? problems.delete(component) : problems.set(component, problem)),
      problems: () => problems,
    },
    ...options,
  };
}
