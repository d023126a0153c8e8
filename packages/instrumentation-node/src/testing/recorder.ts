import { type AttributeValue, decodeTraces, frameSpans, type SpanData } from "@otel-audit/otlp";
import { NO_POLICY, Policy } from "@otel-audit/policy";

import { type Approver, functionApprover } from "../approver.ts";
import { connect } from "../audit.ts";
import { Core } from "../core.ts";
import { Defaults } from "../defaults.ts";
import type { Driver } from "../driver.ts";
import { SEQUENCE_BYTES } from "../record-encoder.ts";
import { ReviewDesk } from "../review-desk.ts";
import { Reviews } from "../reviews.ts";

/** The audit of this process, with records kept in memory. */
export interface Recorder {
  readonly spans: readonly SpanData[];
  /** Each record as `ACTION outcome [error] target`, oldest first; forgets them. */
  take(): string[];
  /** As `take`, with the actor before it. */
  takeWithActor(): string[];
  /** The attributes of all records; forgets them. */
  takeAttributes(): Readonly<Record<string, AttributeValue>>[];
  counts(): Readonly<Record<string, number>>;
  [Symbol.dispose](): void;
}

const EMPTY = new Uint8Array(0);

/**
 * Installs drivers in this process and runs the real core over them. `policy` is the text of a policy in YAML, in force;
 * `approver` decides on reviews.
 */
export async function record(drivers: readonly Driver[], policy?: string, approver?: Approver): Promise<Recorder> {
  const spans: SpanData[] = [];
  const keep = (record: Uint8Array): void => {
    const decoded = decodeTraces(frameSpans({}, { name: "test" }, [record.subarray(SEQUENCE_BYTES)]));
    spans.push(...decoded.resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap((scope) => scope.spans)));
  };
  const evaluator = policy === undefined ? NO_POLICY : Policy.parse(policy);
  const core = new Core({
    policy: evaluator,
    mode: policy === undefined ? "observe" : "enforce",
    unattributed: "record",
    defaults: new Defaults([]),
    ...(approver !== undefined && { reviewDesk: () => deskOf(approver) }),
    sink: {
      epoch: 0,
      nextSequence: 1,
      begin: (entry, bytes, _, headLength) => (entry.head = Uint8Array.from(bytes.subarray(0, headLength))),
      end: ({ head }, bytes, length) => keep(Buffer.concat([head ?? EMPTY, bytes.subarray(0, length)])),
      write: (bytes, length) => keep(bytes.subarray(0, length)),
      room: () => Promise.resolve(),
    },
    onTrouble: (message) => {
      throw new Error(message);
    },
  });
  for (const driver of drivers) await driver.prepare?.();
  const installed = drivers.map((driver) => driver.install());
  connect(core);
  const take = (): Readonly<Record<string, AttributeValue>>[] =>
    spans.splice(0).map(({ attributes }) => attributes ?? {});
  return {
    spans,
    take: () => take().map((attributes) => line(attributes)),
    takeWithActor: () => take().map((attributes) => `${text(attributes["audit.actor.id"])} ${line(attributes)}`),
    takeAttributes: take,
    counts: () => Object.fromEntries(core.takeCounts().ignored),
    [Symbol.dispose]: () => {
      connect(undefined);
      for (const driver of installed) driver.uninstall();
    },
  };
}

/** Asks, and keeps no minutes. */
function deskOf(approver: Approver): ReviewDesk {
  const reviews = new Reviews({ approver: () => functionApprover(approver), timeoutMs: 60_000 });
  return new ReviewDesk(reviews, { reviewRequested: () => true, reviewDecided: () => true });
}

function line(attributes: Readonly<Record<string, AttributeValue>>): string {
  const keys = ["audit.action", "audit.outcome", "error.type", "audit.target.id"];
  return keys.flatMap((key) => (attributes[key] === undefined ? [] : [text(attributes[key])])).join(" ");
}

function text(value: AttributeValue | undefined): string {
  return typeof value === "string" ? value : "";
}
