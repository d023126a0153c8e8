/** A record with what a query of the cookbook may ask for; columns that it leaves out have their default. */
type CookbookRow = Readonly<Record<string, string | number | readonly string[] | Readonly<Record<string, string>>>>;

/** A collector's two runs; the second stands for another collector that got some of the same records. */
const STREAM = "11111111-1111-4111-8111-111111111111";
const OTHER_STREAM = "22222222-2222-4222-8222-222222222222";
const DAY = 24 * 60;

const ORDERS = "postgresql://db.internal/app/public.orders";
const CUSTOMERS = "postgresql://db.internal/app/public.customers";
const CARDS = "postgresql://db.internal/app/public.cards";
const FAQ = "file:///srv/kb/faq.md";

/** ClickHouse's text of the time so many minutes ago. */
function ago(minutes: number): string {
  return new Date(Date.now() - minutes * 60_000).toISOString().replace("T", " ").replace("Z", "");
}

const refund = {
  ActorId: "agent:refunds",
  ActorChain: ["agent:planner"],
  OnBehalfOf: "user:4711",
  WorkflowName: "refund",
  WorkflowId: "refund-1001",
  PolicyVersion: "sha256:1",
};
const support = { ActorId: "agent:support", WorkflowName: "refund", WorkflowId: "refund-1000", PolicyRule: "lookup" };
const table = (TargetId: string): CookbookRow => ({
  EventName: "db.statement",
  TargetType: "database.table",
  TargetId,
});
const http = (TargetId: string): CookbookRow => ({ EventName: "http.request", TargetType: "http.endpoint", TargetId });
const file = (TargetId: string): CookbookRow => ({ EventName: "file.read", TargetType: "file", TargetId });
const nobody = { ActorId: "", ActorType: "", Provenance: "unattributed", ServiceName: "cron" };
const ourselves = { ActorId: "system:otel-audit", ActorType: "system", PolicyRule: "control_record" };
const trace = { TraceId: "0af7651916cd43dd8448eb211c80319c", ParentSpanId: "b7ad6b7169203331" };

/** Minutes ago and what happened then. */
const HAPPENED: readonly (readonly [minutes: number, CookbookRow])[] = [
  [5 * DAY, { ...support, ...table(CUSTOMERS), ReadTargets: [CUSTOMERS, ORDERS] }],
  [5 * DAY - 1, { ...support, ...file(FAQ) }],
  [180, { ...refund, ...table(ORDERS), ...trace, PolicyRule: "lookup" }],
  [170, { ...refund, ...table(ORDERS), Action: "UPDATE", PolicyRule: "mark-refunded" }],
  [
    160,
    {
      ...refund,
      ...http("https://pay.internal/v1/refunds"),
      Action: "WRITE",
      PolicyDecision: "review",
      PolicyRule: "person-approves",
    },
  ],
  [
    150,
    {
      ...refund,
      ...table(CARDS),
      RecordId: "r-denied",
      Outcome: "failure",
      ErrorType: "policy_denied",
      PolicyDecision: "deny",
      PolicyEnforcement: "enforced",
      PolicyRule: "no-cards",
      PolicyReason: "rule no-cards denies it",
    },
  ],
  [
    140,
    {
      ...refund,
      ...http("https://stranger.example/upload"),
      Action: "WRITE",
      PolicyRule: "default",
      CollectorDecision: "deny",
      CollectorPolicyRule: "no-strangers",
    },
  ],
  [
    130,
    {
      ...refund,
      ...file("file:///srv/kb/escalation.md"),
      Outcome: "failure",
      ErrorType: "ENOENT",
      PolicyRule: "lookup",
    },
  ],
  [60, { ...support, ...file(FAQ) }],
  [50, { ...nobody, ...http("https://pay.internal/v1/health-of-us") }],
  [
    40,
    {
      ...ourselves,
      EventName: "policy.loaded",
      PolicyId: "refunds",
      PolicyVersion: "sha256:1",
      ServiceName: "refund-desk",
      ResourceAttributes: { "audit.producer.id": "p-1" },
      SpanAttributes: { "audit.policy.document": "policy: refunds", "audit.producer.sequence": "2" },
    },
  ],
  [
    30,
    {
      ...ourselves,
      EventName: "process.summary",
      ServiceName: "refund-desk",
      ResourceAttributes: { "audit.producer.id": "p-1" },
      SpanAttributes: { "audit.summary.lost": "3", "audit.producer.sequence": "7" },
    },
  ],
  [
    20,
    { ...ourselves, EventName: "process.summary", ServiceName: "other", SpanAttributes: { "audit.summary.lost": "0" } },
  ],
];

const archivist = { ActorId: "service:archive", ActorType: "service" };
const moved = {
  ...archivist,
  ...file("file:///srv/work/moved.md"),
  SpanId: "00f067aa0ba902b7",
  ResourceAttributes: { "audit.producer.id": "p-2" },
};
const OLD: readonly (readonly [at: string, CookbookRow])[] = [
  ["2026-01-05 07:59:59", { ...archivist, ...file(FAQ) }],
  [
    "2026-01-05 08:10:00",
    {
      ...archivist,
      ...file("file:///srv/backup/faq.md"),
      EventName: "file.copy",
      Action: "WRITE",
      ReadTargets: [FAQ],
      WriteTargets: ["file:///srv/backup/faq.md"],
    },
  ],
  ["2026-01-05 08:20:00", { ...archivist, ...file(FAQ), Action: "DELETE", EventName: "file.delete" }],
  ["2026-01-05 08:30:00", { ...archivist, ...file("file:///srv/work/faq.md"), PolicyEnforcement: "soft", Flags: 512 }],
  ["2026-01-05 09:00:00", { ...archivist, ...file(FAQ) }],
  ["2026-01-06 08:00:00", { ...archivist, ...file(FAQ), RecordId: "r-twice" }],
  ["2026-01-06 08:00:00", { ...archivist, ...file(FAQ), RecordId: "r-twice", StreamId: OTHER_STREAM }],
  ["2026-01-06 08:01:00", { ...archivist, ...file(FAQ), RecordId: "r-other-content", ContentHash: "the first text.." }],
  [
    "2026-01-06 08:01:00",
    {
      ...archivist,
      ...file("file:///srv/kb/other.md"),
      RecordId: "r-other-content",
      StreamId: OTHER_STREAM,
      ContentHash: "the other text..",
    },
  ],
  ["2026-01-06 08:02:00", { ...moved, RecordId: "r-intent", Outcome: "unknown" }],
  [
    "2026-01-06 08:02:00",
    { ...moved, RecordId: "r-late", SpanAttributes: { "audit.record.supersedes": "r-intent" }, StreamId: OTHER_STREAM },
  ],
];

/** Rows for `audit_events`, in the order of their streams: in one two are missing, in the other the first. */
export function auditRows(): CookbookRow[] {
  const happened = [...OLD, ...HAPPENED.map(([minutes, row]) => [ago(minutes), row] as const)];
  const next: Record<string, number> = {};
  return happened.map(([Timestamp, row], i) => {
    const StreamId = typeof row["StreamId"] === "string" ? row["StreamId"] : STREAM;
    const Sequence = next[StreamId] ?? (StreamId === STREAM ? 1 : 2);
    next[StreamId] = Sequence + (StreamId === STREAM && Sequence === 5 ? 3 : 1);
    return {
      RowFormat: 1,
      Timestamp,
      ReceivedAt: Timestamp,
      ContentHash: "0123456789abcdef",
      RecordId: `r-${i}`,
      ActorType: "agent",
      Action: "READ",
      Outcome: "success",
      PolicyDecision: "allow",
      PolicyEnforcement: "observed",
      Provenance: "asserted",
      ...row,
      StreamId,
      Sequence,
    };
  });
}

/** Rows for `otel_traces`: the debug span that the traced action is in. */
export function debugRows(): CookbookRow[] {
  return [{ Timestamp: ago(180), TraceId: trace.TraceId, SpanId: trace.ParentSpanId, SpanName: "handle refund" }];
}
