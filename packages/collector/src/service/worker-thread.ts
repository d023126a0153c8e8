import { Worker } from "node:worker_threads";
import { CollectorError, errorMessage } from "../errors.ts";
import { within } from "../within.ts";
import type { FromWorker, Ready, ToWorker, WorkerData } from "./messages.ts";
import type { MetricsSnapshot } from "./telemetry.ts";

/** A worker that is busy for longer is shown with the metrics that it had before. */
const METRICS_MS = 1_000;
/** More than all components together may take to stop: then the thread hangs, and what it acknowledged is in the log. */
const STOP_MARGIN_MS = 15_000;

/** What a worker tells the supervisor by itself. */
interface WorkerEvents {
  health(component: string, problem: string | undefined): void;
  log(line: string): void;
  /** It has ended without being asked to. */
  died(error: CollectorError): void;
}

/** Questions that wait for an answer of the thread; one that has ended answers with `otherwise`. */
class Questions<T> {
  readonly #waiting = new Map<number, (answer: T) => void>();
  readonly #otherwise: T;
  #nextId = 1;
  #over = false;

  constructor(otherwise: T) {
    this.#otherwise = otherwise;
  }

  ask(send: (id: number) => void): Promise<T> {
    if (this.#over) return Promise.resolve(this.#otherwise);
    const id = this.#nextId++;
    const { promise, resolve } = Promise.withResolvers<T>();
    this.#waiting.set(id, resolve);
    send(id);
    return promise;
  }

  answer(id: number, answer: T): void {
    this.#waiting.get(id)?.(answer);
    this.#waiting.delete(id);
  }

  end(): void {
    this.#over = true;
    for (const id of this.#waiting.keys()) this.answer(id, this.#otherwise);
  }
}

/** The supervisor's end of one worker. */
export class WorkerThread {
  readonly index: number;
  readonly #worker: Worker;
  readonly #events: WorkerEvents;
  readonly #exited: Promise<unknown>;
  readonly #started = Promise.withResolvers<Ready>();
  readonly #stopped = Promise.withResolvers<string | undefined>();
  readonly #metricsAsked = new Questions<MetricsSnapshot | undefined>(undefined);
  readonly #drainAsked = new Questions(false);
  #shutdownMs = 0;
  #ending = false;
  #metrics: MetricsSnapshot = [];

  constructor(data: WorkerData, events: WorkerEvents) {
    this.index = data.index;
    this.#events = events;
    const file = import.meta.url.endsWith(".ts") ? "./worker.ts" : "./worker.js";
    this.#worker = new Worker(new URL(file, import.meta.url), { name: `worker-${data.index}`, workerData: data });
    this.#worker.on("message", (message: FromWorker) => this.#receive(message));
    this.#worker.on("messageerror", (error) => this.#died(`sent what cannot be read: ${errorMessage(error)}`, error));
    this.#worker.on("error", (error) => this.#died(`died: ${errorMessage(error)}`, error));
    this.#exited = new Promise((resolve) => {
      this.#worker.once("exit", (code) => {
        this.#died(`ended with code ${code}`);
        this.#metricsAsked.end();
        this.#drainAsked.end();
        this.#stopped.resolve(undefined);
        resolve(code);
      });
    });
    this.#started.promise.catch(() => {});
  }

  /** Resolves when it listens. @throws CollectorError what a component could not do; the thread has ended then */
  async ready(): Promise<Ready> {
    try {
      const ready = await this.#started.promise;
      this.#shutdownMs = ready.shutdownMs;
      return ready;
    } catch (error) {
      await this.#terminate();
      throw error;
    }
  }

  tell(key: string, value: unknown): void {
    this.#send({ kind: "told", key, value });
  }

  /** Its metrics; those of the last time when it does not answer. */
  async metrics(): Promise<MetricsSnapshot> {
    const answer = this.#metricsAsked.ask((id) => this.#send({ kind: "metrics", id }));
    this.#metrics = (await within(METRICS_MS, answer, undefined)) ?? this.#metrics;
    return this.#metrics;
  }

  /** Waits until all that it has acknowledged has left; false after `timeoutMs`. */
  drain(timeoutMs: number): Promise<boolean> {
    return this.#drainAsked.ask((id) => this.#send({ kind: "drain", id, timeoutMs }));
  }

  /** Stops it, upstream first, and ends the thread. @throws CollectorError when a component could not be stopped in order */
  async stop(limitMs = Infinity): Promise<void> {
    this.#ending = true;
    this.#send({ kind: "stop" });
    const late = Math.min(this.#shutdownMs + STOP_MARGIN_MS, limitMs);
    const error = await within(late, this.#stopped.promise, `it has not stopped within ${late} ms`);
    await this.#terminate();
    if (error !== undefined) throw new CollectorError("INTERNAL", `worker ${this.index}: ${error}`);
  }

  async #terminate(): Promise<void> {
    this.#ending = true;
    await this.#worker.terminate();
    await this.#exited;
  }

  #send(message: ToWorker): void {
    this.#worker.postMessage(message, []);
  }

  #died(how: string, cause?: unknown): void {
    const error = new CollectorError("INTERNAL", `worker ${this.index} ${how}`, { cause });
    this.#started.reject(error);
    if (this.#ending) return;
    this.#ending = true;
    this.#events.died(error);
  }

  #receive(message: FromWorker): void {
    switch (message.kind) {
      case "ready":
        return this.#started.resolve(message);
      case "failed":
        this.#ending = true;
        return this.#started.reject(new CollectorError(message.code, message.message));
      case "health":
        return this.#events.health(message.component, message.problem);
      case "log":
        return this.#events.log(message.line);
      case "metrics":
        return this.#metricsAsked.answer(message.id, message.snapshot);
      case "drained":
        return this.#drainAsked.answer(message.id, message.drained);
      case "stopped":
        return this.#stopped.resolve(message.error);
    }
  }
}
