import { Ledger, decodeRow, readSegment } from "@otel-audit/ledger";
import { SPAN_AUDIT, encodeSpan, frameSpans, scanTraces, type AttributeValue, type SpanIndex } from "@otel-audit/otlp";
import { createHash } from "node:crypto";
import { afterAll, beforeAll, beforeEach } from "vitest";
import { tempDir } from "../../../../test/support/index.ts";
import type { Principal } from "../auth.ts";
import type { Consumer, CreateContext } from "../component.ts";
import { auditCredentialsConfig } from "../extensions/audit_credentials/config.ts";
import { AuditCredentials } from "../extensions/audit_credentials/extension.ts";
import { auditConfig } from "../processors/audit/config.ts";
import { AuditProcessor } from "../processors/audit/processor.ts";
import { TraceBatch } from "../trace-batch.ts";
import { testContext } from "./context.ts";

// The audit processor between four credentials and a ledger.

export type Row = Readonly<Record<string, unknown>>;
export type Attributes = Readonly<Record<string, AttributeValue>>;

const hash = (token: string): string => createHash("sha256").update(token).digest("hex");
/** Their tokens are their ids. */
const CREDENTIALS = [
  { id: "refunds", token_sha256: hash("refunds"), agents: ["agent:refunds"], tenant: "acme" },
  { id: "support", token_sha256: hash("support"), agents: ["support-*"], tenant: "globex" },
  { id: "guard", token_sha256: hash("guard"), agents: ["guard"], roles: ["policy", "review", "keys", "retention"] },
  { id: "slow", token_sha256: hash("slow"), agents: ["slow"], rate_limit: { records_per_second: 0.001, burst: 3 } },
];

/** Made anew for each test. */
export const world: { failure: Error | undefined; context: CreateContext } = {
  /** What the log answers to audit records; undefined: it takes them. */
  failure: undefined,
  /** The processor's. */
  context: testContext("audit"),
};
let ledger: Ledger;
let credentials: AuditCredentials;

beforeAll(async () => {
  ledger = await Ledger.open({ dir: tempDir("audit-processor") });
});
afterAll(() => ledger.close());
beforeEach(() => {
  world.failure = undefined;
  world.context = testContext("audit");
  credentials = new AuditCredentials(
    auditCredentialsConfig.parse({ credentials: CREDENTIALS }),
    testContext("audit_credentials"),
  );
});

/** As the exporter does it. */
export const intoLedger: Consumer = {
  consume: async ({ index, facts }) => {
    if (world.failure && index.auditCount > 0) throw world.failure;
    const { rejected } = await ledger.append(index, SPAN_AUDIT, facts!);
    return rejected.map(({ reason }) => ({ spans: 1, reason }));
  },
};

export function processor(config: Record<string, unknown> = {}, next = intoLedger): AuditProcessor {
  return new AuditProcessor(auditConfig.parse(config), next, world.context);
}

function principal(token: string): Principal {
  return credentials.authenticate({ authorization: `Bearer ${token}`, certificate: undefined });
}

let nextId = 1;
const AUDIT = { "audit.action": "READ", "audit.actor.type": "agent", "audit.event.name": "file.read" };
export function span(attributes: Attributes, defaults: Attributes = AUDIT): Uint8Array {
  return encodeSpan({
    traceId: "0af7651916cd43dd8448eb211c80319c",
    spanId: (nextId++).toString(16).padStart(16, "0"),
    name: "s",
    startTimeUnixNano: 1n,
    endTimeUnixNano: 2n,
    attributes: { ...defaults, ...attributes },
  });
}

/** A request with the credential of this token, or without any. */
export function batchOf(
  token: string | undefined,
  spans: readonly Uint8Array[],
  resource: Attributes = {},
): TraceBatch {
  const index: SpanIndex = scanTraces(frameSpans(resource, { name: "s" }, spans));
  return TraceBatch.of(index, { principal: token === undefined ? undefined : principal(token) });
}

/** Sends spans and gives what became rows, and why the others did not. */
export async function send(
  by: AuditProcessor,
  token: string | undefined,
  ...spans: Attributes[]
): Promise<{ rows: Row[]; reasons: string[] }> {
  const bodies = spans.map((one) => span(one));
  const rejections = await by.consume(batchOf(token, bodies));
  return { rows: await takeRows(), reasons: rejections.map(({ reason }) => reason) };
}

/** The rows since the last call. */
export async function takeRows(): Promise<Row[]> {
  await ledger.rotate();
  const rows: Row[] = [];
  for (const segment of ledger.closedSegments()) {
    const read = await readSegment(segment.path);
    for (const offset of read.offsets.slice(0, -1)) rows.push(decodeRow(read.rows, offset).row);
    await ledger.removeSegment(segment);
  }
  return rows;
}

export const who = ({ ActorId, Principal: by, Provenance, TenantId }: Row): unknown[] => [
  ActorId,
  by,
  Provenance,
  TenantId,
];

/** What the collector itself said about the misuse of a credential, and all else. */
export const misuses = (rows: readonly Row[]): Row[] =>
  rows.filter(({ EventName }) => EventName === "credential.shared");
export const others = (rows: readonly Row[]): Row[] =>
  rows.filter(({ EventName }) => EventName !== "credential.shared");
