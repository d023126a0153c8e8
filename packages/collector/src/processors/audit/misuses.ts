import type { CollectorFacts } from "@otel-audit/ledger";
import { scanTraces } from "@otel-audit/otlp";
import type { Principal } from "../../auth.ts";
import type { Consumer } from "../../component.ts";
import { TraceBatch } from "../../trace-batch.ts";
import { COLLECTOR, credentialShared } from "./control-records.ts";

/** What waits for a log that takes nothing at the moment; what comes above it is only counted by the metric. */
const MAX_WAITING = 256;

/** Records about credentials that are used in another agent's name. */
export class Misuses {
  readonly #next: Consumer;
  readonly #waiting: TraceBatch[] = [];
  #storing: Promise<void> | undefined;

  constructor(next: Consumer) {
    this.#next = next;
  }

  note(principal: Principal, asserted: string, isRefused: boolean): void {
    if (this.#waiting.length >= MAX_WAITING || !principal.isNewMisuse(asserted)) return;
    const facts: CollectorFacts = { provenance: "verified", principal: COLLECTOR, tenantId: principal.tenant };
    this.#waiting.push(TraceBatch.of(scanTraces(credentialShared(principal, asserted, isRefused)), { facts }));
  }

  /** Stores what was noted. When it throws, that waits; a request is not acknowledged before what it showed is on disk. */
  async store(): Promise<void> {
    while (this.#storing !== undefined || this.#waiting.length > 0) {
      this.#storing ??= this.#storeAll().finally(() => {
        this.#storing = undefined;
      });
      await this.#storing;
    }
  }

  async #storeAll(): Promise<void> {
    for (let batch = this.#waiting[0]; batch !== undefined; batch = this.#waiting[0]) {
      await this.#next.consume(batch);
      this.#waiting.shift();
    }
  }
}
