import type { Collector } from "@otel-audit/collector";

/** A second one of them ends the process at once. */
const ENDING = ["SIGINT", "SIGTERM"] as const;
const NO_RELOAD =
  "the collector goes on: its configuration is read at the start only; certificates and credentials are read again by themselves";
const NO_MEANING = "the collector goes on: this signal means nothing to it";

/**
 * What a collector does when it is sent a signal. Without listeners SIGHUP and SIGUSR2 would end it like a crash; one for
 * SIGUSR1, at which Node opens a debugger, is there already when this runs (bin/otel-audit.js).
 */
export class CollectorSignals {
  /** Resolves when a signal asks for the end. */
  readonly stopped: Promise<undefined>;
  /** Where it is said what becomes of a signal, as soon as there is a log. */
  log: Collector["log"] | undefined;

  /** @param terminal whether the log is one; a SIGHUP then says that it is gone. `nohup` takes it away */
  constructor(terminal: boolean) {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.stopped = promise;
    const stop = (signal: NodeJS.Signals): void => {
      for (const one of ENDING) process.off(one, stop);
      this.log?.info({ signal }, "the collector stops; a second SIGINT or SIGTERM ends it at once");
      resolve(undefined);
    };
    const goOn = (text: string) => (signal: NodeJS.Signals) => this.log?.warn({ signal }, text);
    for (const signal of ENDING) process.on(signal, stop);
    process.on("SIGHUP", terminal ? stop : goOn(NO_RELOAD));
    for (const signal of ["SIGUSR1", "SIGUSR2"] as const) process.on(signal, goOn(NO_MEANING));
  }
}
