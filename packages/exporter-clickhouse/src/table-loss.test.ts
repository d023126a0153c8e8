import { expect, test } from "vitest";
import { shortestTtlMs } from "./table-loss.ts";

test.each([
  ["MergeTree ORDER BY Sequence SETTINGS index_granularity = 8192", Infinity],
  [
    "MergeTree ORDER BY a TTL toDateTime(ReceivedAt) + toIntervalDay(30) SETTINGS ttl_only_drop_parts = 1",
    30 * 86_400_000,
  ],
  [
    "MergeTree ORDER BY a TTL toDateTime(Timestamp) + toIntervalHour(2), b + toIntervalYear(1) TO VOLUME 'v'",
    7_200_000,
  ],
  ["MergeTree ORDER BY a TTL expires SETTINGS index_granularity = 8192", 0],
  ["Distributed('c', 'd', 'audit_events_local', sipHash64(StreamId))", Infinity],
])("%s keeps rows for %d ms at least", (engine, ms) => {
  expect(shortestTtlMs(engine)).toBe(ms);
});
