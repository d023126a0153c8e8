import type { CollectorFacts, CollectorVerdict, JudgedEvent } from "@otel-audit/ledger";
import { scanTraces, type SpanIndex } from "@otel-audit/otlp";
import { Policy } from "@otel-audit/policy";
import { CONTROL_EVENT_NAMES } from "@otel-audit/semantic-conventions";
import { readFile } from "node:fs/promises";
import { AuthError, type Principal } from "../../auth.ts";
import type { Component, Consumer, CreateContext, Rejection } from "../../component.ts";
import { configError, errorMessage } from "../../errors.ts";
import { TraceBatch } from "../../trace-batch.ts";
import { Classifier } from "./classifier.ts";
import type { AuditConfig } from "./config.ts";
import { policyLoaded } from "./control-records.ts";
import { OwnRecords } from "./own-records.ts";
import { Senders } from "./senders.ts";
import { SharedNames } from "./shared-names.ts";

/**
 * Adds what only a collector may say about an audit span: who sent it, and the collector's own verdict. Derives records
 * from foreign spans where that is configured; the originals go on unchanged.
 */
export class AuditProcessor implements Component, Consumer {
  readonly #config: AuditConfig;
  readonly #next: Consumer;
  readonly #context: CreateContext;
  readonly #classifier: Classifier | undefined;
  readonly #own: OwnRecords;
  #senders: Senders;
  /** Without a credential every identity is asserted; the ledger says `unattributed` where there is none. */
  #facts: CollectorFacts = { provenance: "asserted", principal: "", tenantId: "" };

  constructor(config: AuditConfig, next: Consumer, context: CreateContext) {
    this.#config = config;
    this.#next = next;
    this.#context = context;
    this.#classifier =
      config.classify &&
      new Classifier(config.classify.services, new SharedNames(context.shared("instrumented", SharedNames.byteLength)));
    this.#own = new OwnRecords(next);
    this.#senders = this.#makeSenders(undefined);
  }

  async start(): Promise<void> {
    if (this.#config.policy === undefined) return;
    const policy = await this.#loadPolicy(this.#config.policy);
    const judged = (event: JudgedEvent): CollectorVerdict | undefined => judge(policy, event);
    this.#facts = { ...this.#facts, judge: judged };
    this.#senders = this.#makeSenders(judged);
    await this.#record(policy);
  }

  async shutdown(): Promise<void> {}

  async consume(batch: TraceBatch): Promise<readonly Rejection[]> {
    const { telemetry, id } = this.#context;
    const { index, principal } = batch;
    const labels = { processor: id, otel_signal: "traces" };
    telemetry.incomingItems.inc(labels, batch.spans);
    const sender = this.#senders.senderOf(principal);
    const copies = await this.#classifier?.classify(index, sender);
    const classified = copies && scanTraces(copies);
    const records = index.auditCount + (classified?.count ?? 0);
    if (principal !== undefined) this.#admit(principal, records);
    let rejections: readonly Rejection[];
    let derived = 0;
    try {
      // The copies first: when they cannot be kept the client sends all again, and debug spans are not doubled.
      const facts = principal === undefined ? this.#facts : this.#senders.factsOf(principal);
      if (classified !== undefined) derived = await this.#keepCopies(classified, facts);
      rejections = await this.#next.consume(batch.withFacts(facts));
      if (records > 0) await this.#own.store();
    } catch (error) {
      principal?.refund(records);
      throw error;
    }
    // Only now: what is refused comes again, and its copies with it.
    if (derived > 0) telemetry.classifiedRecords.inc({ processor: id }, derived);
    if (index.auditCount > 0 && rejections.length === 0) await this.#classifier?.learn(index, sender);
    telemetry.outgoingItems.inc(labels, batch.spans);
    return rejections;
  }

  /** A sender who is too fast keeps all of it, and is told when to come again. */
  #admit(principal: Principal, records: number): void {
    try {
      principal.admit(records);
    } catch (error) {
      if (error instanceof AuthError) {
        const labels = { processor: this.#context.id, credential: principal.id };
        this.#context.telemetry.rateLimitedRecords.inc(labels, records);
      }
      throw error;
    }
  }

  /** How many were taken. */
  async #keepCopies(classified: SpanIndex, facts: CollectorFacts): Promise<number> {
    const rejections = await this.#next.consume(
      TraceBatch.of(classified, { facts: { ...facts, origin: "classified" } }),
    );
    return classified.count - rejections.reduce((sum, { spans }) => sum + spans, 0);
  }

  /** A log that takes nothing now keeps no collector from starting: then it is stored with the first record that is taken. */
  async #record(policy: Policy): Promise<void> {
    const isStored = new Int32Array(this.#context.shared("policy-is-stored", 4));
    if (Atomics.load(isStored, 0) !== 0) return;
    this.#own.add(policyLoaded(policy));
    try {
      await this.#own.store();
      Atomics.store(isStored, 0, 1);
    } catch (error) {
      this.#context.log.warn(
        { err: error },
        "the policy is not on record yet: it will be before the first record is taken",
      );
    }
  }

  #makeSenders(judged: CollectorFacts["judge"]): Senders {
    const { telemetry, id } = this.#context;
    const onMismatch = (principal: Principal, asserted: string, isRefused: boolean): void => {
      const result = isRefused ? "refused" : "stored";
      telemetry.mismatchedRecords.inc({ processor: id, credential: principal.id, result });
      if (asserted !== "") this.#own.noteMisuse(principal, asserted, isRefused);
    };
    return new Senders({ mismatch: this.#config.mismatch, onMismatch }, judged);
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
  if (CONTROL_EVENT_NAMES.has(event.event) && event.targets.every(({ type }) => type === "process")) return undefined;
  return policy.evaluate(event);
}
