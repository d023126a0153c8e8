export { ClickHouseError } from "./errors.ts";
export type { ClickHouseErrorCode } from "./errors.ts";
export type { ClickHouseConnection } from "./connection.ts";
