import { resolve } from "node:path";

import {
  ATTR_AUDIT_PROCESS_FOLLOWED,
  ATTR_PROCESS_ARGS_COUNT,
  ATTR_PROCESS_EXECUTABLE_PATH,
  ATTR_PROCESS_EXIT_CODE,
  ATTR_PROCESS_PID,
  ATTR_PROCESS_WORKING_DIRECTORY,
  EVENT_PROCESS_EXEC,
} from "@otel-audit/semantic-conventions";

import { begin, observes, type Operation } from "../../audit.ts";
import { noticeBypass } from "../../bypass.ts";
import type { AuditPolicyDeniedError } from "../../errors.ts";
import { addition, type Addition } from "../../following.ts";
import { rethrowOverflow } from "../../intrinsics.ts";
import { findProgram, isNode } from "./program.ts";

/** A process that is about to start, as the system will be told. */
export interface Start {
  readonly file: string;
  /** The arguments with the program's own name; their text is never recorded. */
  readonly argumentCount: number;
  /** As it was given: Node takes it as the system does, from its own working directory. */
  readonly cwd: string | undefined;
  /** A variable of its environment. */
  readonly get: (name: string) => string | undefined;
}

/** A variable of an environment as Node hands it over: as a text. */
export function variable(env: Readonly<Record<string, unknown>>, name: string): string | undefined {
  const value = env[name];
  if (typeof value === "string") return value;
  return typeof value === "number" || typeof value === "boolean" ? String(value) : undefined;
}

function workingDirectory(): string {
  try {
    return process.cwd();
  } catch (error) {
    rethrowOverflow(error);
    // It was removed.
    return "/";
  }
}

/** What a driver has to do about a start. */
export interface Begun {
  readonly operation: Operation | undefined;
  readonly denied: AuditPolicyDeniedError | undefined;
  /** What to put into the environment of the process. */
  readonly addition: Addition;
}

/** Opens the record of a process. The program is what is judged: a shell's command line is not looked into. */
export function beginStart(start: Start): Begun {
  const cwd = resolve(workingDirectory(), start.cwd ?? "");
  const program = findProgram(start.file, cwd, start.get("PATH"));
  const seen = addition(start.get, undefined);
  const followed = seen.audited && isNode(program);
  const operation = observes()
    ? begin({
        event: EVENT_PROCESS_EXEC,
        action: "EXECUTE",
        targets: [{ type: "process", id: program.id }],
        attributes: {
          [ATTR_PROCESS_EXECUTABLE_PATH]: program.path,
          [ATTR_PROCESS_WORKING_DIRECTORY]: cwd,
          [ATTR_PROCESS_ARGS_COUNT]: start.argumentCount,
          [ATTR_AUDIT_PROCESS_FOLLOWED]: followed,
        },
      })
    : undefined;
  if (operation?.denied !== undefined) return { operation, denied: operation.denied, addition: seen };
  const denied =
    seen.changed.length === 0
      ? undefined
      : noticeBypass("child_unaudited", `${program.path} with ${seen.changed.join(", ")}`);
  if (denied !== undefined) operation?.end(denied);
  return { operation, denied, addition: operation === undefined ? seen : addition(start.get, operation.recordId) };
}

/** How a process ended. */
export interface End {
  readonly pid: number | undefined;
  readonly code: number | null;
  readonly signal: string | null;
  /** It did not start, or was ended by us: `ENOENT`, `ETIMEDOUT`. */
  readonly error?: unknown;
}

/** Closes the record: an exit code other than 0 is a failure, named by the code; so is a signal. */
export function endStart(operation: Operation, { pid, code, signal, error }: End): void {
  const failure = error ?? signal ?? (code === 0 ? undefined : String(code));
  operation.end(failure, {
    ...(pid ? { [ATTR_PROCESS_PID]: pid } : undefined),
    ...(code === null ? undefined : { [ATTR_PROCESS_EXIT_CODE]: code }),
  });
}
