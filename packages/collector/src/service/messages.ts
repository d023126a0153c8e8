import type { ReceiverEndpoints } from "../component.ts";
import type { ComponentKind } from "../components.ts";
import type { CollectorErrorCode } from "../errors.ts";
import type { CollectorConfig } from "../config/schema.ts";
import type { MetricsSnapshot } from "./telemetry.ts";

/** What a worker is started with. */
export interface WorkerData {
  readonly config: CollectorConfig;
  readonly index: number;
  readonly count: number;
  readonly dataDir: string;
  readonly portOffset: number;
  readonly serviceInstanceId: string;
  readonly logLevel: string;
  /** Log lines go to the supervisor, which has a logger of its caller. */
  readonly forwardLog: boolean;
  /** What was told so far. */
  readonly told: ReadonlyMap<string, unknown>;
  /** What worker 0 has made; empty for worker 0. */
  readonly shared: ReadonlyMap<string, SharedArrayBuffer>;
}

export type ToWorker =
  | { readonly kind: "told"; readonly key: string; readonly value: unknown }
  | { readonly kind: "metrics"; readonly id: number }
  | { readonly kind: "drain"; readonly id: number; readonly timeoutMs: number }
  | { readonly kind: "stop" };

/** The first message of a worker that works. */
export interface Ready {
  readonly kind: "ready";
  /** Of its receivers; of several that have the same protocol, those of the first. */
  readonly endpoints: ReceiverEndpoints;
  readonly shared: ReadonlyMap<string, SharedArrayBuffer>;
  /** The longest that its shutdown may take. */
  readonly shutdownMs: number;
}

export type FromWorker =
  | Ready
  | { readonly kind: "failed"; readonly code: CollectorErrorCode; readonly message: string }
  | { readonly kind: "health"; readonly component: string; readonly problem: string | undefined }
  | { readonly kind: "log"; readonly line: string }
  | { readonly kind: "metrics"; readonly id: number; readonly snapshot: MetricsSnapshot }
  | { readonly kind: "drained"; readonly id: number; readonly drained: boolean }
  | { readonly kind: "stopped"; readonly error: string | undefined };

/** Of what belongs to one component: a receiver and an extension may have the same id. */
export function componentKey(kind: ComponentKind, id: string, name: string): string {
  return `${kind}/${id}/${name}`;
}
