// An application with OpenTelemetry of its own, from its process over spool, OTLP and collector into the table: its tracing
// stays what it was, and the audit is complete whatever that tracing samples.
import { encodeTraces } from "@otel-audit/otlp";
import { existsSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startTrail, until, type AuditRow, type Trail } from "./apps/trail.ts";
import { startHttpApi, startPostgres, tempDir, type HttpApi, type Postgres, type SinkSpan } from "./support/index.ts";

interface Said {
  readonly seen: Readonly<Record<string, { readonly active: string; readonly after: string; readonly trace: string }>>;
  readonly tracing: Readonly<Record<string, unknown>>;
}

/** One run of the application with all that came out of it. */
interface Run extends Said {
  readonly rows: readonly AuditRow[];
  /** What the debug backend got. */
  readonly spans: readonly SinkSpan[];
  /** The headers by which a trace goes on, as the API saw them. */
  readonly propagated: readonly unknown[];
}

interface Setup {
  readonly ours: "none" | "before" | "after" | "register";
  readonly sampler: "always-on" | "ratio-0";
  readonly official: boolean;
}

let trail: Trail;
let api: HttpApi;
let postgres: Postgres;
beforeAll(async () => {
  [trail, api, postgres] = await Promise.all([
    startTrail("otel"),
    startHttpApi({ routes: { "GET /missing": { status: 404, body: {} } } }),
    startPostgres({ sql: "CREATE TABLE orders (id int); INSERT INTO orders VALUES (1);" }),
  ]);
});
afterAll(async () => {
  await Promise.all([trail[Symbol.asyncDispose](), api.close(), postgres.close()]);
});

const REGISTER = "../../packages/instrumentation-node/dist/register.js";
const DIR = tempDir("work");
let runs = 0;

async function run({ ours, sampler, official }: Setup): Promise<Run> {
  const service = `traced-${++runs}`;
  trail.debug.clear();
  api.clear();
  const said = await trail.run<Said>("traced-work.ts", {
    service,
    imports: ours === "register" ? [REGISTER, "otel-setup.ts"] : ["otel-setup.ts"],
    env: {
      OURS: ours,
      SAMPLER: sampler,
      OFFICIAL: official ? "1" : "0",
      API: api.url,
      DATABASE: postgres.url,
      DIR,
    },
  });
  const rows = ours === "none" ? [] : await trail.records(service);
  // What the collector passes on comes after its acknowledgement: `last` ends after all others.
  if (sampler === "always-on")
    await until("the debug spans", () => trail.debug.spans.some(({ name }) => name === "last"));
  const propagated = api.requests.map(({ path, headers }) => [path, headers["traceparent"], headers["tracestate"]]);
  return { ...said, rows, spans: [...trail.debug.spans], propagated };
}

const actionsOf = (rows: readonly AuditRow[]): string[] =>
  rows
    // The exporter of the application's own spans sends them as nobody: that is a request, too.
    .filter(({ ActorId }) => ActorId !== "")
    .map(({ ActorId, EventName, Action, Outcome, ErrorType, TargetId }) =>
      [
        ActorId,
        EventName,
        Action,
        TargetId.replace(`127.0.0.1:${api.port}`, "API")
          .replace(`127.0.0.1:${postgres.port}`, "DB")
          .replace(`file://${DIR}`, ""),
        Outcome,
        ErrorType,
      ]
        .join(" ")
        .trim(),
    );

const EXPECTED = [
  "agent:http http.request READ http://API/http success",
  "agent:fetch http.request WRITE http://API/fetch success",
  "agent:undici http.request READ http://API/undici success",
  "agent:not-found http.request READ http://API/missing failure 404",
  "agent:select db.statement READ postgresql://DB/postgres/public.orders success",
  "agent:update db.statement UPDATE postgresql://DB/postgres/public.orders success",
  "agent:failed-select db.statement READ postgresql://DB/postgres/public.nowhere failure 42P01",
  "agent:write file.write WRITE /written.txt success",
  "agent:read-sync file.read READ /written.txt success",
  "agent:copy file.copy WRITE /copy.txt success",
  "agent:unlink file.delete DELETE /copy.txt success",
];

/** A debug span without what differs from run to run; with the ids, which come from a counter. */
function shape({ startTimeUnixNano: _start, endTimeUnixNano: _end, resource: _resource, ...span }: SinkSpan): string {
  const events = span.events?.map(({ name, attributes }) => ({ name, attributes: stable(attributes) }));
  return JSON.stringify({ ...span, attributes: stable(span.attributes), events });
}

/** The client's port is another one in each run. */
function stable(attributes: SinkSpan["attributes"]): unknown {
  return Object.entries(attributes ?? {})
    .filter(([key]) => !["network.local.port", "network.peer.port", "exception.stacktrace"].includes(key))
    .toSorted(([a], [b]) => (a < b ? -1 : 1));
}

const shapes = ({ spans }: Run): string[] => spans.map(shape).toSorted();

/**
 * Every record stands where the action was in the application's trace: below the span that was active, or below the span
 * that an official instrumentation made there for the same action.
 */
function expectPlaces({ seen, rows, spans }: Run, official: boolean): void {
  const parents = new Map(spans.map(({ spanId, parentSpanId }) => [spanId, parentSpanId]));
  for (const [name, { active, after, trace }] of Object.entries(seen)) {
    expect(after, `the span that is active after ${name}`).toBe(active);
    const own = rows.filter(({ ActorId }) => ActorId === `agent:${name}`);
    expect(own.map(({ TraceId }) => TraceId)).toEqual([trace]);
    let parent = own[0]?.ParentSpanId;
    if (official) while (parent !== undefined && parent !== active) parent = parents.get(parent);
    expect(parent, `the parent of ${name}`).toBe(active);
  }
}

/** Debug spans are at the backend alone, audit spans in the table alone, each once. */
function expectSplit({ rows, spans }: Run): void {
  const audit = new Set(rows.map(({ SpanId }) => SpanId));
  expect(audit.size).toBe(rows.length);
  expect(new Set(rows.map(({ RecordId }) => RecordId)).size).toBe(rows.length);
  expect(new Set(spans.map(({ spanId }) => spanId)).size).toBe(spans.length);
  expect(spans.filter(({ attributes }) => attributes?.["audit.action"] !== undefined)).toEqual([]);
  expect(spans.filter(({ spanId }) => audit.has(spanId))).toEqual([]);
}

async function sendDebugSpan(name: string): Promise<void> {
  const times = { startTimeUnixNano: 1n, endTimeUnixNano: 2n };
  const span = { traceId: "1".repeat(32), spanId: "1".repeat(16), name, ...times };
  await fetch(`${trail.collector.endpoints.otlpHttp}/v1/traces`, {
    method: "POST",
    headers: { "content-type": "application/x-protobuf" },
    body: Buffer.from(encodeTraces({ resourceSpans: [{ scopeSpans: [{ spans: [span] }] }] })),
  });
}

describe("sampling at ratio 0", () => {
  it.each([true, false])("loses no record; the debug backend gets nothing (official: %s)", async (official) => {
    const result = await run({ ours: "after", sampler: "ratio-0", official });
    expect(actionsOf(result.rows)).toEqual(EXPECTED);
    if (!official) expectPlaces(result, official);
    for (const [name, { trace }] of Object.entries(result.seen))
      expect(result.rows.find(({ ActorId }) => ActorId === `agent:${name}`)).toMatchObject({ TraceId: trace });
    // The sampler was asked, and what is sampled downstream because of us would show in the flags.
    expect(result.tracing["asked"]).not.toEqual([]);
    const flags = result.propagated.map((headers) => String((headers as string[])[1]).slice(-3));
    expect(flags).toEqual(Array.from({ length: 4 }, () => (official ? "-00" : "ned")));
    // What is behind a later span can no longer be on its way.
    await sendDebugSpan("marker");
    await until("the marker", () => trail.debug.spans.some(({ name }) => name === "marker"));
    expect(trail.debug.spans.map(({ name }) => name)).toEqual(["marker"]);
  });
});

describe.each([
  { official: true, ways: ["before", "after", "register"] },
  { official: false, ways: ["after"] },
] as const)("sampling everything, official instrumentations: $official", ({ official, ways }) => {
  let alone: Run;
  beforeAll(async () => {
    alone = await run({ ours: "none", sampler: "always-on", official });
  });

  it("makes spans without us", () => {
    expect(alone.rows).toEqual([]);
    expect(alone.spans.length).toBeGreaterThan(official ? 2 * EXPECTED.length : EXPECTED.length);
    expect(alone.propagated.every((headers) => String((headers as string[])[1]).endsWith("-01"))).toBe(official);
  });

  it.each(ways)("%s: one record an action, and the application's tracing is as it was", async (ours) => {
    const result = await run({ ours, sampler: "always-on", official });
    expect(actionsOf(result.rows)).toEqual(EXPECTED);
    expectPlaces(result, official);
    expect(result.tracing).toEqual(alone.tracing);
    expect(result.seen).toEqual(alone.seen);
    expect(result.propagated).toEqual(alone.propagated);
    expect(shapes(result)).toEqual(shapes(alone));
    expectSplit(result);
  });
});

it("has only audit spans in the table", async () => {
  const scopes = await trail.collector.sql("SELECT DISTINCT ScopeName FROM audit_events");
  expect(scopes).toEqual([{ ScopeName: "@otel-audit/instrumentation-node" }]);
});

it("did the work for real", () => {
  expect(existsSync(`${DIR}/written.txt`)).toBe(true);
  expect(existsSync(`${DIR}/copy.txt`)).toBe(false);
});
