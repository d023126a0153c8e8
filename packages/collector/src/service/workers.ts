import type { Logger } from "pino";
import type { ReceiverEndpoints } from "../component.ts";
import type { CollectorError } from "../errors.ts";
import type { HealthState } from "./health-state.ts";
import type { Ready, WorkerData } from "./messages.ts";
import type { MetricsSnapshot } from "./telemetry.ts";
import { WorkerThread } from "./worker-thread.ts";

interface Supervision {
  readonly log: Logger;
  readonly health: HealthState;
  /** A worker has died. */
  failed(error: CollectorError): void;
}

/** All workers of a collector. */
export class Workers {
  readonly #data: Omit<WorkerData, "index" | "count" | "shared">;
  readonly #supervision: Supervision;
  readonly #threads: WorkerThread[] = [];
  #first: Ready | undefined;

  constructor(data: Omit<WorkerData, "index" | "count" | "shared">, supervision: Supervision) {
    this.#data = data;
    this.#supervision = supervision;
  }

  /** Where the receivers listen: the same for every worker. */
  get endpoints(): ReceiverEndpoints {
    return this.#first?.endpoints ?? {};
  }

  /** Worker 0 first: the others have its shared memory, and listen on the ports that it got. */
  async start(count: number): Promise<void> {
    this.#first = await this.#spawn(0, count, new Map()).ready();
    const { shared } = this.#first;
    const others = Array.from({ length: count - 1 }, (_, i) => this.#spawn(i + 1, count, shared));
    await Promise.all(others.map((worker) => worker.ready()));
  }

  tell(key: string, value: unknown): void {
    for (const worker of this.#threads) worker.tell(key, value);
  }

  metrics(): Promise<readonly MetricsSnapshot[]> {
    return Promise.all(this.#threads.map((worker) => worker.metrics()));
  }

  async drain(timeoutMs: number): Promise<boolean> {
    const drained = await Promise.all(this.#threads.map((worker) => worker.drain(timeoutMs)));
    return drained.every(Boolean);
  }

  /** Stops all of them at the same time. Throws the first error, after all have ended. */
  async stop(limitMs?: number): Promise<void> {
    const results = await Promise.allSettled(this.#threads.map((worker) => worker.stop(limitMs)));
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }

  #spawn(index: number, count: number, shared: Ready["shared"]): WorkerThread {
    const { log, health } = this.#supervision;
    const worker = new WorkerThread(
      { ...this.#data, index, count, shared },
      {
        health: (component, problem) => health.set(String(index), component, problem),
        log: (line) => relog(log, line),
        died: (error) => this.#supervision.failed(error),
      },
    );
    this.#threads.push(worker);
    return worker;
  }
}

/** A line of a worker's pino, written again by the logger of whoever started the collector. */
function relog(log: Logger, line: string): void {
  const fields = new Map<string, unknown>(Object.entries(JSON.parse(line)));
  const level = log.levels.labels[Number(fields.get("level"))];
  const text = fields.get("msg");
  for (const own of ["level", "time", "pid", "hostname", "msg"]) fields.delete(own);
  if (level === "fatal" || level === "error" || level === "warn" || level === "info" || level === "debug")
    log[level](Object.fromEntries(fields), typeof text === "string" ? text : undefined);
}
