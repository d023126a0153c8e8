import { Ledger, readSegment, decodeRow, RowFlag, type CollectorFacts } from "@otel-audit/ledger";
import { encodeSpan, frameSpans, scanTraces, SPAN_AUDIT, type AttributeValue } from "@otel-audit/otlp";
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { tempDir } from "../../../../../test/support/index.ts";
import { AuthError, type Principal } from "../../auth.ts";
import type { Consumer, CreateContext } from "../../component.ts";
import { auditCredentialsConfig } from "../../extensions/audit_credentials/config.ts";
import { AuditCredentials } from "../../extensions/audit_credentials/extension.ts";
import { testContext } from "../../testing/context.ts";
import { TraceBatch } from "../../trace-batch.ts";
import { auditConfig } from "./config.ts";
import { AuditProcessor } from "./processor.ts";

type Row = Readonly<Record<string, unknown>>;
type Attributes = Readonly<Record<string, AttributeValue>>;

const hash = (token: string): string => createHash("sha256").update(token).digest("hex");
const CREDENTIALS = [
  { id: "refunds", token_sha256: hash("refunds"), agents: ["agent:refunds"], tenant: "acme" },
  { id: "support", token_sha256: hash("support"), agents: ["support-*"], tenant: "globex" },
  { id: "guard", token_sha256: hash("guard"), agents: ["guard"], roles: ["policy", "review", "keys", "retention"] },
  { id: "slow", token_sha256: hash("slow"), agents: ["slow"], rate_limit: { records_per_second: 0.001, burst: 3 } },
];

let ledger: Ledger;
let failure: Error | undefined;
const appended: CollectorFacts[] = [];
/** As the exporter does it. */
const intoLedger: Consumer = {
  consume: async ({ index, facts }) => {
    if (failure && index.auditCount > 0) throw failure;
    appended.push(facts!);
    const { rejected } = await ledger.append(index, SPAN_AUDIT, facts!);
    return rejected.map(({ reason }) => ({ spans: 1, reason }));
  },
};
let credentials: AuditCredentials;
let context: CreateContext;

beforeAll(async () => {
  ledger = await Ledger.open({ dir: tempDir("audit-processor") });
});
afterAll(() => ledger.close());
beforeEach(() => {
  failure = undefined;
  appended.length = 0;
  credentials = new AuditCredentials(
    auditCredentialsConfig.parse({ credentials: CREDENTIALS }),
    testContext("audit_credentials"),
  );
  context = testContext("audit");
});

const processor = (config: Record<string, unknown> = {}): AuditProcessor =>
  new AuditProcessor(auditConfig.parse(config), intoLedger, context);
const principal = (token: string): Principal =>
  credentials.authenticate({ authorization: `Bearer ${token}`, certificate: undefined });

let nextId = 1;
const AUDIT = { "audit.action": "READ", "audit.actor.type": "agent", "audit.event.name": "file.read" };
function span(attributes: Attributes, defaults: Attributes = AUDIT): Uint8Array {
  return encodeSpan({
    traceId: "0af7651916cd43dd8448eb211c80319c",
    spanId: (nextId++).toString(16).padStart(16, "0"),
    name: "s",
    startTimeUnixNano: 1n,
    endTimeUnixNano: 2n,
    attributes: { ...defaults, ...attributes },
  });
}

/** Sends spans and gives what became rows, and why the others did not. */
async function send(
  by: AuditProcessor,
  token: string | undefined,
  ...spans: Attributes[]
): Promise<{ rows: Row[]; reasons: string[] }> {
  const index = scanTraces(
    frameSpans(
      {},
      { name: "s" },
      spans.map((one) => span(one)),
    ),
  );
  const sender = token === undefined ? undefined : principal(token);
  const rejections = await by.consume(TraceBatch.of(index, { principal: sender }));
  return { rows: await takeRows(), reasons: rejections.map(({ reason }) => reason) };
}

async function takeRows(): Promise<Row[]> {
  await ledger.rotate();
  const rows: Row[] = [];
  for (const segment of ledger.closedSegments()) {
    const read = await readSegment(segment.path);
    for (const offset of read.offsets.slice(0, -1)) rows.push(decodeRow(read.rows, offset).row);
    await ledger.removeSegment(segment);
  }
  return rows;
}
const who = ({ ActorId, Principal: by, Provenance, TenantId }: Row): unknown[] => [ActorId, by, Provenance, TenantId];

/** What the collector itself said about the misuse of a credential. */
const misuses = (rows: readonly Row[]): Row[] => rows.filter(({ EventName }) => EventName === "credential.shared");
const others = (rows: readonly Row[]): Row[] => rows.filter(({ EventName }) => EventName !== "credential.shared");

describe("who a record is of", () => {
  it("is verified where the credential belongs to the actor, with its principal and tenant", async () => {
    const { rows, reasons } = await send(
      processor(),
      "refunds",
      { "audit.actor.id": "refunds" },
      { "audit.actor.id": "agent:refunds", "audit.actor.chain": ["agent:planner"] },
      {},
    );
    expect(reasons).toEqual([]);
    expect(rows.map(who)).toEqual([
      ["refunds", "refunds", "verified", "acme"],
      ["agent:refunds", "refunds", "verified", "acme"],
      ["", "refunds", "unattributed", "acme"],
    ]);
    expect((await send(processor(), "support", { "audit.actor.id": "support-7" })).rows.map(who)).toEqual([
      ["support-7", "support", "verified", "globex"],
    ]);
  });

  it("is asserted without a credential, and control records are taken, as on a loopback without any", async () => {
    const { rows } = await send(
      processor(),
      undefined,
      { "audit.actor.id": "refunds" },
      { "audit.event.name": "policy.loaded", "audit.actor.id": "system:otel-audit" },
      {},
    );
    expect(rows.map(who)).toEqual([
      ["refunds", "", "asserted", ""],
      ["system:otel-audit", "", "asserted", ""],
      ["", "", "unattributed", ""],
    ]);
  });

  it.each<[string, Attributes]>([
    ["another's name", { "audit.actor.id": "orders" }],
    ["a name that begins like its own", { "audit.actor.id": "refunds2" }],
    ["its name in capitals", { "audit.actor.id": "Refunds" }],
    ["its name and a NUL", { "audit.actor.id": "refunds\0" }],
    ["its name and a space", { "audit.actor.id": "refunds " }],
    ["a full-width letter", { "audit.actor.id": "\uff52efunds" }],
    ["a zero-width space", { "audit.actor.id": "refunds\u200b" }],
    ["a list with its name", { "audit.actor.id": ["refunds"] }],
    ["a person with its name", { "audit.actor.id": "refunds", "audit.actor.type": "user" }],
    ["a person's name", { "audit.actor.id": "user:4711", "audit.actor.type": "user" }],
    ["the instrumentation's name for what it does not say itself", { "audit.actor.id": "system:otel-audit" }],
    [
      "the start of another's process",
      { "audit.event.name": "process.start", "audit.actor.id": "system:otel-audit", "audit.on_behalf_of.id": "orders" },
    ],
    ["the collector's name", { "audit.actor.id": "otel-audit-collector", "audit.actor.type": "system" }],
    ["a pattern of its name", { "audit.actor.id": "*" }],
  ])("refuses %s, that span only, and stores it as asserted where that is configured", async (what, forged) => {
    const refusing = await send(processor(), "refunds", { "audit.actor.id": "refunds" }, forged, {
      "audit.actor.id": "refunds",
    });
    expect(others(refusing.rows).map(who)).toEqual([
      ["refunds", "refunds", "verified", "acme"],
      ["refunds", "refunds", "verified", "acme"],
    ]);
    expect(refusing.reasons).toEqual([expect.stringContaining('credential "refunds" does not belong to "')]);
    const storing = await send(processor({ mismatch: "store" }), "refunds", { "audit.actor.id": "refunds" }, forged);
    expect(storing.reasons).toEqual([]);
    const actor = forged["audit.actor.id"];
    const stored = typeof actor === "string" ? actor : JSON.stringify(actor);
    expect(who(others(storing.rows)[1]!)).toEqual([stored, "refunds", "asserted", "acme"]);
    expect(misuses(refusing.rows).length, what).toBe(1);
    const metrics = await context.telemetry.registry.metrics();
    expect(metrics).toMatch(/otel_audit_mismatched_records\{[^}]*credential="refunds",result="refused"[^}]*\} 1\n/);
    expect(metrics).toMatch(/otel_audit_mismatched_records\{[^}]*credential="refunds",result="stored"[^}]*\} 1\n/);
  });

  it("cannot be said by the producer: provenance, principal, tenant and the collector's verdict are the collector's", async () => {
    const forged = {
      "audit.actor.provenance": "verified",
      "audit.principal.id": "guard",
      "audit.actor.principal": "guard",
      "audit.tenant.id": "globex",
      "audit.flags": 0,
      "audit.collector.policy.decision": "allow",
    };
    for (const token of ["refunds", undefined]) {
      const { rows } = await send(processor({ mismatch: "store" }), token, { "audit.actor.id": "orders", ...forged });
      const [row] = others(rows);
      const expected = token === undefined ? ["orders", "", "asserted", ""] : ["orders", "refunds", "asserted", "acme"];
      expect(who(row!)).toEqual(expected);
      expect(row).toMatchObject({ CollectorDecision: "" });
      expect(Number(row!["Flags"]) & RowFlag.CollectorAttributeStripped).toBeTruthy();
    }
  });

  it("keeps apart what two credentials send under one record id", async () => {
    const same = { "audit.record.id": "01J-same" };
    const first = await send(processor(), "refunds", { ...same, "audit.actor.id": "refunds" });
    const second = await send(processor(), "support", { ...same, "audit.actor.id": "support-1" });
    const again = await send(processor(), undefined, { ...same });
    const rows = [...first.rows, ...second.rows, ...again.rows];
    expect(rows.map(who).length).toBe(3);
    expect(rows.filter(({ Flags }) => (Number(Flags) & RowFlag.Conflict) !== 0)).toEqual([]);
  });
});

describe("control records", () => {
  const own = { "audit.actor.id": "system:otel-audit", "audit.actor.type": "system" };
  it.each(["policy.loaded", "review.requested", "review.decided", "key.rotated", "keys.rotated", "retention.applied"])(
    "%s only from a credential with its role",
    async (event) => {
      const record = { ...own, "audit.event.name": event };
      const refused = await send(processor({ mismatch: "store" }), "refunds", record, { "audit.actor.id": "refunds" });
      expect(refused.rows.map(who)).toEqual([["refunds", "refunds", "verified", "acme"]]);
      const role = event.split(".", 1)[0]!.replace(/^key$/, "keys");
      expect(refused.reasons).toEqual([`the role "${role}" sends "${event}", and credential "refunds" has not`]);
      expect((await send(processor(), "guard", record)).rows.map(who)).toEqual([
        ["system:otel-audit", "guard", "verified", ""],
      ]);
    },
  );

  it("are never taken from a producer where only the collector makes them", async () => {
    const record = { ...own, "audit.event.name": "credential.shared" };
    const { rows, reasons } = await send(processor(), "guard", record, {
      ...record,
      "audit.event.name": "credential.x",
    });
    expect([rows, reasons.length]).toEqual([[], 2]);
    expect(reasons[0]).toContain("only the collector itself sends");
  });

  it("of a review name who decided, which its role is trusted with and nobody verified", async () => {
    const decided = { "audit.event.name": "review.decided", "audit.actor.id": "user:ann", "audit.actor.type": "user" };
    expect((await send(processor(), "guard", decided)).rows.map(who)).toEqual([["user:ann", "guard", "asserted", ""]]);
  });

  it.each(["process.start", "process.summary", "audit.bypass"])(
    "%s of its own process from everybody",
    async (event) => {
      const record = { ...own, "audit.event.name": event };
      const { rows, reasons } = await send(
        processor(),
        "refunds",
        { ...record, "audit.on_behalf_of.id": "refunds" },
        { ...record, "audit.on_behalf_of.id": "agent:refunds" },
        record,
        { ...record, "audit.actor.id": "refunds", "audit.actor.type": "agent" },
      );
      expect(reasons).toEqual([]);
      expect(rows.map(({ Provenance }) => Provenance)).toEqual(["verified", "verified", "verified", "verified"]);
    },
  );
});

describe("a credential in the name of another agent", () => {
  it("is one record of the collector for each agent, of the credential's tenant", async () => {
    const by = processor();
    const spans = Array.from({ length: 50 }, () => ({ "audit.actor.id": "orders" }));
    const first = await send(by, "refunds", { "audit.actor.id": "refunds" }, ...spans);
    expect(first.reasons.length).toBe(50);
    const [record, ...more] = misuses(first.rows);
    expect(more).toEqual([]);
    expect(record).toMatchObject({
      ActorId: "otel-audit-collector",
      Principal: "otel-audit-collector",
      Provenance: "verified",
      TenantId: "acme",
      CredentialId: "refunds",
      Outcome: "failure",
      ErrorType: "identity_refused",
      SpanAttributes: { "audit.credential.asserted": "orders", "audit.credential.agents": '["agent:refunds"]' },
    });
    expect(misuses((await send(by, "refunds", { "audit.actor.id": "orders" })).rows)).toEqual([]);
    expect(misuses((await send(by, "refunds", { "audit.actor.id": "invoices" })).rows).length).toBe(1);
    // Whoever makes up names fills no table with them.
    const flood = Array.from({ length: 500 }, (_, i) => ({ "audit.actor.id": `x${i}` }));
    expect(misuses((await send(by, "refunds", ...flood)).rows).length).toBe(6);
  });

  it("is on disk before the request is acknowledged, also when the log took nothing at first", async () => {
    const by = processor();
    failure = new Error("log full");
    const index = scanTraces(frameSpans({}, { name: "s" }, [span({ "audit.actor.id": "orders" })]));
    const batch = TraceBatch.of(index, { principal: principal("refunds") });
    await expect(by.consume(batch)).rejects.toThrow("log full");
    failure = undefined;
    let calls = 0;
    const flaky: Consumer = {
      consume: async (one) => {
        // The records of the request are taken, what they show is not.
        if (++calls === 2) throw new Error("log full");
        return intoLedger.consume(one);
      },
    };
    const second = new AuditProcessor(auditConfig.parse({}), flaky, context);
    await expect(second.consume(batch)).rejects.toThrow("log full");
    expect(await takeRows()).toEqual([]);
    await second.consume(batch);
    expect(misuses(await takeRows()).length).toBe(1);
  });
});

const foreign = (tool: string, agent?: string): Uint8Array =>
  span({ "gen_ai.tool.name": tool, ...(agent !== undefined && { "gen_ai.agent.id": agent }) }, {});
const effect = (agent: string): Uint8Array => span({ "audit.actor.id": agent, "audit.record.origin": "effect" });
/** What comes of spans of one service. */
async function sendFrom(by: AuditProcessor, token: string | undefined, ...spans: Uint8Array[]): Promise<Row[]> {
  const index = scanTraces(frameSpans({ "service.name": "shop" }, { name: "s" }, spans));
  await by.consume(TraceBatch.of(index, { principal: token === undefined ? undefined : principal(token) }));
  return takeRows();
}
const classifiedTools = (rows: Row[]): unknown[] =>
  rows.filter(({ Origin }) => Origin === "classified").map(({ TargetId }) => TargetId);

describe("classify", () => {
  const config = { classify: { services: ["*"] } };

  it("writes nobody's name that the credential does not cover: the record names nobody, the misuse is on record", async () => {
    const by = processor(config);
    const rows = await sendFrom(by, "refunds", foreign("a", "support-1"), foreign("b", "refunds"), foreign("c"));
    expect(others(rows).map(who)).toEqual([
      ["", "refunds", "unattributed", "acme"],
      ["refunds", "refunds", "verified", "acme"],
      ["", "refunds", "unattributed", "acme"],
    ]);
    expect(others(rows).map(({ Origin, TargetId }) => [Origin, TargetId])).toEqual(
      ["a", "b", "c"].map((tool) => ["classified", `tool:${tool}`]),
    );
    expect(misuses(rows)).toMatchObject([{ SpanAttributes: { "audit.credential.asserted": "support-1" } }]);
    expect(await context.telemetry.registry.metrics()).toMatch(
      /otel_audit_mismatched_records\{[^}]*credential="refunds",result="refused"[^}]*\} 1\n/,
    );
  });

  it("keeps such a name as asserted where that is configured, counted once", async () => {
    const rows = await sendFrom(processor({ ...config, mismatch: "store" }), "refunds", foreign("a", "support-1"));
    expect(others(rows).map(who)).toEqual([["support-1", "refunds", "asserted", "acme"]]);
    expect(misuses(rows).length).toBe(1);
    expect(await context.telemetry.registry.metrics()).toMatch(
      /otel_audit_mismatched_records\{[^}]*credential="refunds",result="stored"[^}]*\} 1\n/,
    );
  });

  it("without credentials takes the span's word, as asserted", async () => {
    const rows = await sendFrom(processor(config), undefined, foreign("a", "support-1"), foreign("b"));
    expect(rows.map(who)).toEqual([
      ["support-1", "", "asserted", ""],
      ["service:shop", "", "asserted", ""],
    ]);
  });

  it("is switched off for a service only by its own sender, and only by records that were stored", async () => {
    const by = processor(config);
    await sendFrom(by, "refunds", effect("support-1"));
    await sendFrom(by, "refunds", effect("refunds"));
    await sendFrom(by, undefined, effect("support-1"));
    await sendFrom(by, "support", effect("refunds"));
    expect(classifiedTools(await sendFrom(by, "support", foreign("a")))).toEqual(["tool:a"]);
    failure = new Error("log full");
    await expect(sendFrom(by, "support", effect("support-1"))).rejects.toThrow("log full");
    failure = undefined;
    expect(classifiedTools(await sendFrom(by, "support", foreign("b")))).toEqual(["tool:b"]);
    await sendFrom(by, "support", effect("support-1"));
    expect(classifiedTools(await sendFrom(by, "support", foreign("c")))).toEqual([]);
    expect(classifiedTools(await sendFrom(by, "refunds", foreign("d")))).toEqual([]);
  });

  it("counts derived records when their request was taken, not each time that it is refused", async () => {
    const by = processor(config);
    const spans = [foreign("a"), foreign("b")];
    failure = new Error("log full");
    await expect(sendFrom(by, undefined, ...spans)).rejects.toThrow("log full");
    failure = undefined;
    await sendFrom(by, undefined, ...spans);
    expect((await context.telemetry.classifiedRecords.get()).values).toMatchObject([{ value: 2 }]);
  });
});

const loaded = (rows: readonly Row[]): number => rows.filter(({ EventName }) => EventName === "policy.loaded").length;
const withPolicy = (): AuditProcessor => {
  const policy = join(tempDir("audit-policy"), "policy.yaml");
  writeFileSync(policy, "policy: support\nmode: observe\ndefault: review\nresources: {}\nrules: []\n");
  return processor({ policy });
};

describe("the collector's policy", () => {
  it("is on record at the start, once for all workers", async () => {
    await withPolicy().start();
    await withPolicy().start();
    expect(loaded(await takeRows())).toBe(1);
  });

  it("does not keep the collector from starting when the log is full: it is on record before any other is taken", async () => {
    const by = withPolicy();
    failure = new Error("log full");
    await by.start();
    await expect(send(by, undefined, {})).rejects.toThrow("log full");
    // What is no record goes on meanwhile.
    const debug = scanTraces(frameSpans({}, { name: "s" }, [span({}, {})]));
    expect(await by.consume(TraceBatch.of(debug))).toEqual([]);
    failure = undefined;
    const { rows } = await send(by, undefined, {});
    expect([rows.length, loaded(rows)]).toEqual([2, 1]);
    expect((await send(by, undefined, {})).rows.length).toBe(1);
  });
});

describe("a rate limit", () => {
  it("refuses all of a request, says when to come again, and counts nothing that was not kept", async () => {
    const by = processor();
    const slow = { "audit.actor.id": "slow" };
    failure = new Error("log full");
    await expect(send(by, "slow", slow, slow, slow)).rejects.toThrow("log full");
    failure = undefined;
    expect((await send(by, "slow", slow, slow)).rows.length).toBe(2);
    const refused = await send(by, "slow", slow, slow).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(AuthError);
    expect(refused).toMatchObject({
      kind: "rate_limited",
      message: expect.stringContaining('"slow" sends more than its rate_limit') as string,
    });
    expect((refused as AuthError).retryAfterMs).toBeGreaterThan(900_000);
    expect((await send(by, "slow", slow)).rows.length).toBe(1);
    expect((await send(by, "refunds", { "audit.actor.id": "refunds" })).rows.length).toBe(1);
    expect(await context.telemetry.registry.metrics()).toMatch(
      /otel_audit_rate_limited_records\{[^}]*credential="slow"[^}]*\} 2\n/,
    );
  });
});
