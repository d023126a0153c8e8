import type { EngineLimits } from "./limits.ts";

/** From the parent, first: what to open. Credentials go this way and not over arguments or the environment. */
export interface StartMessage {
  readonly type: "start";
  readonly dataDir: string;
  readonly host: string;
  readonly port: number;
  readonly token: string | undefined;
  readonly hosts: readonly string[] | undefined;
  readonly readOnly: boolean;
  /** Statements that create the schema; undefined when reading only. */
  readonly schema: readonly string[] | undefined;
  readonly limits: EngineLimits;
}

/** From the parent: finish what is under way and end. */
interface StopMessage {
  readonly type: "stop";
}

/** From the child: it answers. */
export interface ReadyMessage {
  readonly type: "ready";
  readonly port: number;
  readonly version: string;
  readonly writerPassword: string | undefined;
}

/** From the child: it cannot start, and ends. */
export interface FailedMessage {
  readonly type: "failed";
  readonly what: "port" | "engine";
  readonly code: string;
  readonly message: string;
}

export type ParentMessage = StartMessage | StopMessage;
export type ChildMessage = ReadyMessage | FailedMessage;

/** The child is this package's own code: what has a known type has the rest. */
export function isChildMessage(message: unknown): message is ChildMessage {
  return (
    typeof message === "object" &&
    message !== null &&
    "type" in message &&
    ["ready", "failed"].includes(String(message.type))
  );
}
