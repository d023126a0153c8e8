import type { AttributeValue } from "@otel-audit/otlp";
import type { AuditOutcome } from "@otel-audit/semantic-conventions";

import type { Operation } from "./audit.ts";
import type { AuditPolicyDeniedError } from "./errors.ts";
import type { Begun, Ended } from "./record-encoder.ts";
import type { InSpool } from "./sink.ts";
import { property } from "./unknown.ts";

type Attributes = Readonly<Record<string, AttributeValue>>;

/** Writes the outcome of what was begun. */
export type Finish = (operation: BegunOperation, end: Ended) => void;

/** An action whose intent is written. */
export class BegunOperation implements Operation, InSpool {
  denied: AuditPolicyDeniedError | undefined = undefined;
  decided: Promise<void> | undefined = undefined;
  sequence = 0;
  epoch = 0;
  headLength = 0;
  length = 0;
  readonly hasRoom: boolean;
  head: Uint8Array | undefined = undefined;
  at = 0;
  newer: InSpool | undefined = undefined;
  older: InSpool | undefined = undefined;
  readonly begun: Begun;
  readonly #finish: Finish;
  #ended = false;

  constructor(begun: Begun, finish: Finish) {
    this.begun = begun;
    this.hasRoom = begun.endRoom !== undefined;
    this.#finish = finish;
  }

  get recordId(): string {
    return this.begun.recordId;
  }

  end(error?: unknown, attributes?: Attributes): void {
    if (error === undefined || error === null) this.#end("success", undefined, attributes);
    else this.#end("failure", errorType(error), attributes);
  }

  /** Stops it where no record of it could be written. */
  refuse(denied: AuditPolicyDeniedError): void {
    this.denied = denied;
    this.#ended = true;
  }

  /** Ends it as stopped: it does not run, and the driver's own `end` does nothing. */
  deny(denied: AuditPolicyDeniedError, attributes?: Attributes): void {
    this.denied = denied;
    this.#end("failure", POLICY_DENIED, attributes);
  }

  #end(outcome: AuditOutcome, type: string | undefined, attributes: Attributes | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#finish(this, { outcome, errorType: type, attributes });
  }
}

/** `error.type` of what the policy stopped. */
export const POLICY_DENIED = "policy_denied";

/** `error.type`: an error's code, else its name; never the code of a DOMException. Never throws, whatever was thrown at the application. */
function errorType(error: unknown): string {
  if (typeof error === "string" && error !== "") return error;
  if (typeof error !== "object" || error === null) return "_OTHER";
  try {
    const code = property(error, "code");
    const name = property(error, "name");
    // A DOMException's code is a number of a list that was closed long ago: 20 for AbortError, 0 for new ones.
    if (error instanceof DOMException) return error.name;
    if (typeof code === "string" && code !== "") return code;
    // Databases and gRPC number their errors from 1.
    if (typeof code === "number" && Number.isSafeInteger(code) && code > 0) return String(code);
    return typeof name === "string" && name !== "" ? name : "_OTHER";
  } catch {
    return "_OTHER";
  }
}
