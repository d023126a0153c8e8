import { fork, type ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";

export interface Job {
  /** Base URL of an OTLP/HTTP receiver. */
  readonly url: string;
  /** Requests under way at most. */
  readonly connections: number;
  readonly seconds: number;
  /** Requests a second, by the clock, whether or not the answers keep up; without it the next goes when one is answered. */
  readonly rate?: number;
}

export interface Outcome {
  readonly acknowledged: number;
  /** "Later" (429, 503). By the clock they are not sent again. */
  readonly refused: number;
  /** Without an answer {@link GRACE_SECONDS} after the end, or not even sent. */
  readonly unanswered: number;
  /** Of acknowledgements that came in the time of the job. */
  readonly perSecond: number;
  /** Milliseconds of each acknowledgement since its request was due, waiting for a free connection included. */
  readonly latencies: readonly number[];
}

/** For the answers that are under way at the end of a job. */
export const GRACE_SECONDS = 10;
/** What the process says of a job. */
export type Answer = { readonly outcome: Outcome } | { readonly error: string };

/** Beyond a job's own time and grace: the process is stuck. */
const STUCK_SECONDS = 10;

/** A load generator in a process of its own. */
export class Load {
  readonly #child: ChildProcess;

  constructor() {
    this.#child = fork(fileURLToPath(new URL("generator.ts", import.meta.url)), { stdio: ["ignore", 2, 2, "ipc"] });
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** @throws Error when the other side cuts a connection, answers neither yes nor later, or nobody ends in time */
  run(job: Job): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      const child = this.#child;
      const limit = (job.seconds + GRACE_SECONDS + STUCK_SECONDS) * 1_000;
      const settle = (answer: Answer): void => {
        clearTimeout(timer);
        child.off("message", settle).off("exit", ended);
        if ("outcome" in answer) resolve(answer.outcome);
        else reject(new Error(answer.error));
      };
      const ended = (): void => settle({ error: "the load generator ended" });
      const timer = setTimeout(() => settle({ error: `the load generator took more than ${limit} ms` }), limit);
      child.on("message", settle).on("exit", ended);
      child.send(job);
    });
  }

  stop(): void {
    this.#child.kill("SIGKILL");
  }
}
