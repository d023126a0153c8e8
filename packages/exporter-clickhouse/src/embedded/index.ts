export { EmbeddedEngine } from "./engine.ts";
export type { EmbeddedConnection, EmbeddedEngineOptions, EngineExit } from "./engine.ts";
export { isEmbeddedAvailable } from "./availability.ts";
export type { EmbeddedAvailability } from "./availability.ts";
export { DEFAULT_LIMITS } from "./limits.ts";
export type { EngineLimits } from "./limits.ts";
