import type { CreateContext } from "../../component.ts";
import { CollectorError } from "../../errors.ts";
import type { MemoryLimiterConfig } from "./config.ts";
import { MemoryUsage, collectGarbage, totalMemory } from "./usage.ts";

const MIB = 1024 * 1024;
/** Part of the limit that is kept for growth between two checks, where nothing is configured (as otelcol). */
const DEFAULT_SPIKE = 5;

/** Of this thread, by the memory that those of one component share. */
const limiters = new WeakMap<SharedArrayBuffer, Limiter>();

/** Measures at every check and knows whether requests have to be refused; one for all pipelines that name the component. */
export class Limiter {
  readonly #config: MemoryLimiterConfig;
  readonly #context: CreateContext;
  readonly #usage: MemoryUsage;
  readonly #hard: number;
  readonly #soft: number;
  #timer: NodeJS.Timeout | undefined;
  #collectedAt = Number.NEGATIVE_INFINITY;
  #refusing = false;

  /** Pipelines that have started it. */
  #users = 0;

  static of(config: MemoryLimiterConfig, context: CreateContext): Limiter {
    const shared = context.shared("usage", context.worker.count * Float64Array.BYTES_PER_ELEMENT);
    const limiter = limiters.get(shared) ?? new Limiter(config, context, shared);
    limiters.set(shared, limiter);
    return limiter;
  }

  private constructor(config: MemoryLimiterConfig, context: CreateContext, shared: SharedArrayBuffer) {
    this.#config = config;
    this.#context = context;
    this.#usage = new MemoryUsage(shared, context.worker.index);
    const { hard, soft } = limits(config);
    this.#hard = hard;
    this.#soft = soft;
  }

  start(): void {
    if (this.#users++ > 0) return;
    this.#context.log.info(
      { limit_mib: toMib(this.#hard), soft_limit_mib: toMib(this.#soft) },
      "memory limiter configured",
    );
    this.check();
    this.#timer = setInterval(() => this.check(), this.#config.check_interval).unref();
  }

  stop(): void {
    if (--this.#users > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#usage.forget();
  }

  /** @throws CollectorError `UNAVAILABLE` while too much memory is in use */
  admit(): void {
    if (!this.#refusing) return;
    throw new CollectorError("UNAVAILABLE", "data refused due to high memory usage (memory_limiter); send it again");
  }

  get refusing(): boolean {
    return this.#refusing;
  }

  check(): void {
    const { log, health, id } = this.#context;
    let used = this.#usage.measure();
    if (used >= this.#hard) used = this.#collect(used, this.#config.min_gc_interval_when_hard_limited);
    else if (used >= this.#soft) used = this.#collect(used, this.#config.min_gc_interval_when_soft_limited);
    const refusing = used >= this.#soft;
    if (refusing === this.#refusing) return;
    this.#refusing = refusing;
    health.set(id, refusing ? "requests are refused: memory usage is above the soft limit" : undefined);
    const fields = { used_mib: toMib(used), soft_limit_mib: toMib(this.#soft) };
    if (refusing) log.warn(fields, "memory usage is above the soft limit: refusing data");
    else log.info(fields, "memory usage is back within limits");
  }

  /** Bytes in use after a collection, when the last one is long enough ago. */
  #collect(used: number, minInterval: number): number {
    const now = performance.now();
    if (now - this.#collectedAt < minInterval) return used;
    collectGarbage();
    this.#collectedAt = now;
    return this.#usage.measure();
  }
}

/** In bytes. */
function limits(config: MemoryLimiterConfig): { hard: number; soft: number } {
  if (config.limit_mib !== undefined) {
    const hard = config.limit_mib * MIB;
    return {
      hard,
      soft: hard - (config.spike_limit_mib === undefined ? hard / DEFAULT_SPIKE : config.spike_limit_mib * MIB),
    };
  }
  const percent = totalMemory() / 100;
  const hard = percent * config.limit_percentage!;
  const { spike_limit_percentage: spike } = config;
  return { hard, soft: hard - (spike === undefined ? hard / DEFAULT_SPIKE : percent * spike) };
}

function toMib(bytes: number): number {
  return Math.round(bytes / MIB);
}
