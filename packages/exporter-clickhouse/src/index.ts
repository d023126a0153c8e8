export { ClickHouseError } from "./errors.ts";
export type { ClickHouseErrorCode } from "./errors.ts";
export type { ClickHouseConnection } from "./connection.ts";
export { DEFAULT_DATABASE, schemaStatements } from "./schema.ts";
export type { SchemaOptions } from "./schema.ts";
export { transposeToNative } from "./native/transpose.ts";
export type { ColumnType } from "./native/transpose.ts";
