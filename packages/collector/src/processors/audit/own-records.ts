import type { CollectorFacts } from "@otel-audit/ledger";
import { scanTraces } from "@otel-audit/otlp";
import type { Principal } from "../../auth.ts";
import type { Consumer } from "../../component.ts";
import { TraceBatch } from "../../trace-batch.ts";
import { COLLECTOR, credentialShared } from "./control-records.ts";

/** What waits for a log that takes nothing at the moment; what comes above it is only counted by the metric. */
const MAX_WAITING = 256;

/** Records of the collector itself: no producer can have their facts. */
export class OwnRecords {
  readonly #next: Consumer;
  readonly #waiting: TraceBatch[] = [];
  #storing: Promise<void> | undefined;

  constructor(next: Consumer) {
    this.#next = next;
  }

  /** A credential was used in another agent's name. */
  noteMisuse(principal: Principal, asserted: string, isRefused: boolean): void {
    if (this.#waiting.length >= MAX_WAITING || !principal.isNewMisuse(asserted)) return;
    this.add(credentialShared(principal, asserted, isRefused), principal.tenant);
  }

  /** @param request with the record, from control-records.ts */
  add(request: Uint8Array, tenantId = ""): void {
    const facts: CollectorFacts = { provenance: "verified", principal: COLLECTOR, tenantId };
    this.#waiting.push(TraceBatch.of(scanTraces(request), { facts }));
  }

  /** Stores what waits. When it throws, that goes on waiting; no record is acknowledged before what it showed is on disk. */
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
