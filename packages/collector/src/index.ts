export { Collector } from "./service/collector.ts";
export type { CollectorOptions, Endpoints } from "./service/collector.ts";
export { parseConfig } from "./config/config.ts";
export type { CollectorConfig } from "./config/config.ts";
export { DEFAULT_CONFIG } from "./config/default-config.ts";
export { CollectorError } from "./errors.ts";
export type { CollectorErrorCode } from "./errors.ts";
