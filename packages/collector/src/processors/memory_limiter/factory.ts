import type { ProcessorFactory } from "../../component.ts";
import { memoryLimiterConfig, type MemoryLimiterConfig } from "./config.ts";
import { SignalMemoryLimiter, TracesMemoryLimiter } from "./processor.ts";

export const memoryLimiterFactory: ProcessorFactory<MemoryLimiterConfig> = {
  kind: "processor",
  type: "memory_limiter",
  schema: memoryLimiterConfig,
  create: (config, next, context) => new TracesMemoryLimiter(config, next, context),
  createForSignals: (config, next, context) => new SignalMemoryLimiter(config, next, context),
};
