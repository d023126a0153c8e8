/**
 * Why segments do not reach the table, as a closed set: the `reason` of metrics, and what decides whether a state has
 * changed. The message of an error beside it changes with every attempt.
 */
export type FailureReason =
  | "engine_down"
  | "unreachable"
  | "timeout"
  | "authentication"
  | "access_denied"
  | "schema"
  | "read_only"
  | "disk_full"
  | "too_many_parts"
  | "memory"
  | "quota"
  | "busy"
  | "server"
  | "not_stored"
  | "partial_segment"
  | "bad_segment"
  | "internal";

/** What each reason means, for a person who has to do something about it. */
export const FAILURES: Readonly<Record<FailureReason, string>> = {
  engine_down: "the embedded engine is not running",
  unreachable: "ClickHouse cannot be reached",
  timeout: "ClickHouse does not answer in time",
  authentication: "ClickHouse refuses the user or the password",
  access_denied: "ClickHouse does not grant the user what it needs (SELECT and INSERT on the table)",
  schema: "the table is not the one that the records fit into",
  read_only: "the table is read-only, or its replica has lost Keeper",
  disk_full: "ClickHouse's disk is full",
  too_many_parts: "ClickHouse has too many parts to merge and takes no inserts",
  memory: "ClickHouse is out of memory",
  quota: "the user's quota at ClickHouse is used up",
  busy: "ClickHouse is too busy to take an insert",
  server: "ClickHouse answers with an error",
  not_stored: "ClickHouse says that it stored rows, and does not have them",
  partial_segment: "the table holds some, or too many, of a segment's rows",
  bad_segment: "a segment's file is not what was written",
  internal: "shipping a segment failed here",
};

const BY_SERVER_CODE: ReadonlyMap<number, FailureReason> = new Map([
  ...[159, 209].map((code) => [code, "timeout"] as const),
  [497, "access_denied"],
  ...[164, 225, 242, 285, 999].map((code) => [code, "read_only"] as const),
  [243, "disk_full"],
  [252, "too_many_parts"],
  ...[173, 241].map((code) => [code, "memory"] as const),
  [201, "quota"],
]);

/** The engine's own file system calls fail with numbers of their own (74, 75, 76, …); the text tells. */
const NO_SPACE = /\b(?:No space left on device|ENOSPC|Disk quota exceeded|EDQUOT)\b/;

/** What ClickHouse's own exception says; undefined where only our error code does. */
export function serverReason(serverCode: number, message: string): FailureReason | undefined {
  if (NO_SPACE.test(message)) return "disk_full";
  return BY_SERVER_CODE.get(serverCode);
}
