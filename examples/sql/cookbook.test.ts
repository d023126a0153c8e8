// Every query of docs/sql-cookbook.md, on the embedded engine, as the reader that an analyst is.
import { createClient, type ClickHouseClient } from "@clickhouse/client";
import { EmbeddedEngine } from "@otel-audit/exporter-clickhouse";
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { tempDir } from "../../test/support/index.ts";
import { auditRows, debugRows } from "./records.ts";

const COOKBOOK = readFileSync(new URL("../../docs/sql-cookbook.md", import.meta.url), "utf8");
const queries = new Map(
  COOKBOOK.split(/^## /m)
    .slice(1)
    .map((section): [string, string[]] => [
      section.split("\n", 1)[0] ?? "",
      [...section.matchAll(/```sql\n([\s\S]*?)```/g)].map((match) => match[1] ?? ""),
    ]),
);

let engine: EmbeddedEngine;
let reader: ClickHouseClient;
beforeAll(async () => {
  engine = await EmbeddedEngine.start({ dataDir: tempDir("cookbook") });
  const writer = createClient({ ...engine.writer });
  await writer.insert({ table: "audit_events", format: "JSONEachRow", values: auditRows() });
  await writer.insert({ table: "otel_traces", format: "JSONEachRow", values: debugRows() });
  await writer.close();
  reader = createClient({ ...engine.reader });
});
afterAll(async () => {
  await reader.close();
  await engine.stop();
});

/** Rows as lines; a time of today is another one each day. */
async function answer(query: string): Promise<string[]> {
  const result = await reader.query({ query, format: "JSONCompactEachRow" });
  const rows = await result.json<unknown[]>();
  return rows.map((row) => row.map((value) => text(value)).join(" | "));
}

function text(value: unknown): string {
  if (typeof value !== "string")
    return Array.isArray(value)
      ? `[${value
          .map(String)
          .toSorted((a, b) => (a < b ? -1 : 1))
          .join(", ")}]`
      : String(value);
  return value.startsWith("2026-01-")
    ? value.slice(5, 16)
    : value.replace(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+$/, "today");
}

/** Every question of the cookbook in its order, and its answer from records.ts. */
const EXPECTED: Readonly<Record<string, readonly string[]>> = {
  "What did an agent do?": [
    "today | READ | postgresql://db.internal/app/public.orders | success |  | allow",
    "today | UPDATE | postgresql://db.internal/app/public.orders | success |  | allow",
    "today | WRITE | https://pay.internal/v1/refunds | success |  | review",
    "today | READ | postgresql://db.internal/app/public.cards | failure | policy_denied | deny",
    "today | WRITE | https://stranger.example/upload | success |  | deny",
    "today | READ | file:///srv/kb/escalation.md | failure | ENOENT | allow",
  ],
  "What happened to a resource in a time window?": [
    "01-05 08:10 | service:archive | WRITE | file:///srv/backup/faq.md | success",
    "01-05 08:20 | service:archive | DELETE | file:///srv/kb/faq.md | success",
  ],
  "What did one run of a workflow do?": [
    "today | agent:refunds | user:4711 | READ | postgresql://db.internal/app/public.orders | success | allow | lookup",
    "today | agent:refunds | user:4711 | UPDATE | postgresql://db.internal/app/public.orders | success | allow | mark-refunded",
    "today | agent:refunds | user:4711 | WRITE | https://pay.internal/v1/refunds | success | review | person-approves",
    "today | agent:refunds | user:4711 | READ | postgresql://db.internal/app/public.cards | failure | deny | no-cards",
    "today | agent:refunds | user:4711 | WRITE | https://stranger.example/upload | success | deny | default",
    "today | agent:refunds | user:4711 | READ | file:///srv/kb/escalation.md | failure | allow | lookup",
  ],
  "How do the runs of a workflow differ?": ["refund-1000 | 3 | 2 | 0 | 0", "refund-1001 | 6 | 5 | 1 | 1"],
  "What was denied and stopped?": [
    "today | agent:refunds | READ | postgresql://db.internal/app/public.cards | no-cards | rule no-cards denies it",
  ],
  "What was denied and ran all the same?": [
    "today | agent:refunds | WRITE | https://stranger.example/upload | allow | deny",
  ],
  "What waits for a person?": ["agent:refunds | user:4711 | WRITE | https://pay.internal/v1/refunds | 1"],
  "What did an agent touch for the first time?": [
    "agent:refunds | postgresql://db.internal/app/public.orders | today",
    "agent:refunds | https://pay.internal/v1/refunds | today",
    "agent:refunds | postgresql://db.internal/app/public.cards | today",
    "agent:refunds | https://stranger.example/upload | today",
    "agent:refunds | file:///srv/kb/escalation.md | today",
  ],
  "Who touched a table, reading or writing?": ["agent:refunds | 1 | 1 | today", "agent:support | 1 | 0 | today"],
  "Which rules decide most?": [
    "lookup | allow | 5 | 2",
    "mark-refunded | allow | 1 | 1",
    "no-cards | deny | 1 | 1",
    "no-strangers | deny | 1 | 1",
    "person-approves | review | 1 | 1",
  ],
  "Which policy was that?": ["refunds | sha256:1 | policy: refunds"],
  "What was done in somebody's name?": [
    "agent:refunds | [agent:planner] | READ | file:///srv/kb/escalation.md | 1",
    "agent:refunds | [agent:planner] | READ | postgresql://db.internal/app/public.cards | 1",
    "agent:refunds | [agent:planner] | READ | postgresql://db.internal/app/public.orders | 1",
    "agent:refunds | [agent:planner] | UPDATE | postgresql://db.internal/app/public.orders | 1",
    "agent:refunds | [agent:planner] | WRITE | https://pay.internal/v1/refunds | 1",
    "agent:refunds | [agent:planner] | WRITE | https://stranger.example/upload | 1",
  ],
  "Which agents were called by another?": ["agent:planner | agent:refunds | 6"],
  "Which hosts were talked to?": ["pay.internal | [, agent:refunds] | 2", "stranger.example | [agent:refunds] | 1"],
  "What did nobody do?": ["cron | http.request | 1"],
  "Where in the trace was an action?": [
    "agent:refunds | READ | postgresql://db.internal/app/public.orders | handle refund",
  ],
  "Is a stream whole?": [
    "11111111-1111-4111-8111-111111111111 | 6 | 2",
    "22222222-2222-4222-8222-222222222222 | 1 | 1",
  ],
  "How many actions were there, each counted once?": [
    " | success | 1",
    "agent:refunds | failure | 2",
    "agent:refunds | success | 4",
    "agent:support | success | 3",
    "system:otel-audit | success | 3",
  ],
  "Which outcomes came late?": ["service:archive | r-late | r-intent | success"],
  "Which records are there twice?": ["r-other-content | 2 | 2", "r-twice | 2 | 1"],
  "Which records came with two contents?": ["r-other-content | 2 | [file:///srv/kb/faq.md, file:///srv/kb/other.md]"],
  "Which records use words that nobody knows?": [" | service:archive | READ | success | allow | soft | 1"],
  "Did a process lose records?": ["refund-desk | 3"],
  "Was a record removed before it was sent?": ["p-1 | refund-desk | 7 | 5"],
};

it("has one query a question, and an expectation for each", () => {
  expect([...queries.values()].map((blocks) => blocks.length)).toEqual(Array.from(queries, () => 1));
  expect(Object.keys(EXPECTED)).toEqual([...queries.keys()]);
});

it.each(Object.entries(EXPECTED))("%s", async (question, rows) => {
  expect(await answer(queries.get(question)?.[0] ?? "")).toEqual(rows);
});

it("the first command asks what it says", async () => {
  const [, address, sql] = /curl (http:\S+) --data-binary '([^']+)'/.exec(COOKBOOK) ?? [];
  expect(address).toBe("http://127.0.0.1:8123/");
  const response = await fetch(engine.url, { method: "POST", body: sql ?? "" });
  expect(await response.text()).toBe(`${auditRows().length}\n`);
});
