import type { CollectorFacts, CollectorVerdict, JudgedEvent } from "@otel-audit/ledger";
import { scanTraces } from "@otel-audit/otlp";
import { Policy } from "@otel-audit/policy";
import { readFile } from "node:fs/promises";
import type { Component, Consumer, CreateContext, Rejection } from "../../component.ts";
import { configError, errorMessage } from "../../errors.ts";
import { TraceBatch } from "../../trace-batch.ts";
import { Classifier } from "./classifier.ts";
import type { AuditConfig } from "./config.ts";
import { CONTROL_EVENTS, policyLoaded } from "./control-records.ts";

/** The collector's own records: no producer can have these facts. */
const OURSELVES: CollectorFacts = { provenance: "verified", principal: "otel-audit-collector", tenantId: "" };

/**
 * Adds what only a collector may say about an audit span: who sent it, and the collector's own verdict. Derives records
 * from foreign spans where that is configured; the originals go on unchanged.
 */
export class AuditProcessor implements Component, Consumer {
  readonly #config: AuditConfig;
  readonly #next: Consumer;
  readonly #context: CreateContext;
  readonly #classifier: Classifier | undefined;
  /** Without credentials every identity is asserted; the ledger says `unattributed` where there is none. */
  #facts: CollectorFacts = { provenance: "asserted", principal: "", tenantId: "" };

  constructor(config: AuditConfig, next: Consumer, context: CreateContext) {
    this.#config = config;
    this.#next = next;
    this.#context = context;
    this.#classifier = config.classify && new Classifier(config.classify.services);
  }

  async start(): Promise<void> {
    if (this.#config.policy === undefined) return;
    const policy = await this.#loadPolicy(this.#config.policy);
    await this.#next.consume(TraceBatch.of(scanTraces(policyLoaded(policy)), { facts: OURSELVES }));
    this.#facts = { ...this.#facts, judge: (event) => judge(policy, event) };
  }

  async shutdown(): Promise<void> {}

  async consume(batch: TraceBatch): Promise<readonly Rejection[]> {
    const { telemetry, id } = this.#context;
    const labels = { processor: id, otel_signal: "traces" };
    telemetry.incomingItems.inc(labels, batch.spans);
    // The copies first: when they cannot be kept the client sends all again, and debug spans are not doubled.
    const copies = this.#classifier?.classify(batch.index);
    if (copies) {
      const classified = scanTraces(copies);
      telemetry.classifiedRecords.inc({ processor: id }, classified.count);
      await this.#next.consume(TraceBatch.of(classified, { facts: { ...this.#facts, origin: "classified" } }));
    }
    const rejections = await this.#next.consume(batch.withFacts(this.#facts));
    telemetry.outgoingItems.inc(labels, batch.spans);
    return rejections;
  }

  async #loadPolicy(file: string): Promise<Policy> {
    let text: string;
    try {
      text = await readFile(file, "utf8");
    } catch (error) {
      throw configError(["processors", this.#context.id, "policy"], `cannot read "${file}": ${errorMessage(error)}`);
    }
    const policy = Policy.parse(text, { file });
    for (const warning of policy.warnings) this.#context.log.warn({ warning }, "policy warning");
    return policy;
  }
}

/** Records about the audit itself have no verdict, unless they name a resource: a name must not be a way past the policy. */
function judge(policy: Policy, event: JudgedEvent): CollectorVerdict | undefined {
  if (CONTROL_EVENTS.has(event.event) && event.targets.every(({ type }) => type === "process")) return undefined;
  return policy.evaluate(event);
}
