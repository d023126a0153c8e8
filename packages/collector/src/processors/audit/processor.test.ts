import { frameSpans, scanTraces } from "@otel-audit/otlp";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { tempDir } from "../../../../../test/support/index.ts";
import { AuthError } from "../../auth.ts";
import {
  batchOf,
  misuses,
  others,
  processor,
  send,
  span,
  takeRows,
  who,
  world,
  type Row,
} from "../../testing/audit-processor.ts";
import { TraceBatch } from "../../trace-batch.ts";
import type { AuditProcessor } from "./processor.ts";

const foreign = (tool: string, agent?: string): Uint8Array =>
  span({ "gen_ai.tool.name": tool, ...(agent !== undefined && { "gen_ai.agent.id": agent }) }, {});
const effect = (agent: string): Uint8Array => span({ "audit.actor.id": agent, "audit.record.origin": "effect" });
/** What comes of spans of one service. */
async function sendFrom(by: AuditProcessor, token: string | undefined, ...spans: Uint8Array[]): Promise<Row[]> {
  await by.consume(batchOf(token, spans, { "service.name": "shop" }));
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
    expect(await world.context.telemetry.registry.metrics()).toMatch(
      /otel_audit_mismatched_records\{[^}]*credential="refunds",result="refused"[^}]*\} 1\n/,
    );
  });

  it("keeps such a name as asserted where that is configured, counted once", async () => {
    const rows = await sendFrom(processor({ ...config, mismatch: "store" }), "refunds", foreign("a", "support-1"));
    expect(others(rows).map(who)).toEqual([["support-1", "refunds", "asserted", "acme"]]);
    expect(misuses(rows).length).toBe(1);
    expect(await world.context.telemetry.registry.metrics()).toMatch(
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
    world.failure = new Error("log full");
    await expect(sendFrom(by, "support", effect("support-1"))).rejects.toThrow("log full");
    world.failure = undefined;
    expect(classifiedTools(await sendFrom(by, "support", foreign("b")))).toEqual(["tool:b"]);
    await sendFrom(by, "support", effect("support-1"));
    expect(classifiedTools(await sendFrom(by, "support", foreign("c")))).toEqual([]);
    expect(classifiedTools(await sendFrom(by, "refunds", foreign("d")))).toEqual([]);
  });

  it("counts derived records when their request was taken, not each time that it is refused", async () => {
    const by = processor(config);
    const spans = [foreign("a"), foreign("b")];
    world.failure = new Error("log full");
    await expect(sendFrom(by, undefined, ...spans)).rejects.toThrow("log full");
    world.failure = undefined;
    await sendFrom(by, undefined, ...spans);
    expect((await world.context.telemetry.classifiedRecords.get()).values).toMatchObject([{ value: 2 }]);
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
    world.failure = new Error("log full");
    await by.start();
    await expect(send(by, undefined, {})).rejects.toThrow("log full");
    // What is no record goes on meanwhile.
    const debug = scanTraces(frameSpans({}, { name: "s" }, [span({}, {})]));
    expect(await by.consume(TraceBatch.of(debug))).toEqual([]);
    world.failure = undefined;
    const { rows } = await send(by, undefined, {});
    expect([rows.length, loaded(rows)]).toEqual([2, 1]);
    expect((await send(by, undefined, {})).rows.length).toBe(1);
  });
});

describe("a rate limit", () => {
  it("refuses all of a request, says when to come again, and counts nothing that was not kept", async () => {
    const by = processor();
    const slow = { "audit.actor.id": "slow" };
    world.failure = new Error("log full");
    await expect(send(by, "slow", slow, slow, slow)).rejects.toThrow("log full");
    world.failure = undefined;
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
    expect(await world.context.telemetry.registry.metrics()).toMatch(
      /otel_audit_rate_limited_records\{[^}]*credential="slow"[^}]*\} 2\n/,
    );
  });
});
