import { randomUUID } from "node:crypto";
import { writeSync } from "node:fs";
import { hostname } from "node:os";
import { isMainThread } from "node:worker_threads";

import type { PolicyMode } from "@otel-audit/policy";
import {
  ATTR_AUDIT_PRODUCER_ID,
  ATTR_HOST_NAME,
  ATTR_PROCESS_PID,
  ATTR_PROCESS_RUNTIME_NAME,
  ATTR_PROCESS_RUNTIME_VERSION,
} from "@otel-audit/semantic-conventions";

import { type Approver, endpointApprover, functionApprover, type NamedApprover } from "./approver.ts";
import { connect } from "./audit.ts";
import { onUnattributedBypass } from "./bypass.ts";
import type { AuditConfig } from "./config.ts";
import { ControlRecords } from "./control-records.ts";
import { Core } from "./core.ts";
import { Coverage } from "./coverage.ts";
import { Defaults } from "./defaults.ts";
import type { Driver, Installed } from "./driver.ts";
import { look, unsupported } from "./edge.ts";
import { InstrumentationError } from "./errors.ts";
import { follow, isFollowed } from "./following.ts";
import type { Gate } from "./gate.ts";
import { asOurselves, setAmbientActor } from "./identity.ts";
import { onHookError } from "./module-hook.ts";
import { OWN_FILES_RULE, OwnFiles } from "./own-files.ts";
import { ownWork } from "./own-work.ts";
import { watchPatches } from "./patch.ts";
import { LOOK_EVERY_MS, type PolicyChange, PolicyWatch } from "./policy-watch.ts";
import { configurePropagation } from "./propagation/propagation.ts";
import { ReviewDesk } from "./review-desk.ts";
import { Reviews } from "./reviews.ts";
import { thisOwner } from "./spool/owner.ts";
import { Shipper } from "./spool/shipper.ts";
import { Spool } from "./spool/spool.ts";
import { SCOPE_NAME, VERSION } from "./version.ts";
import { replace } from "./patch.ts";
import { clearTimeout, monotonicMs, setInterval, setTimeout } from "./pristine.ts";

const SUMMARY_EVERY_MS = 60 * 60_000;
const HOUSEKEEPING_EVERY_MS = 60_000;
const LEFTOVERS_AFTER_MS = 50;
/** The record of every touch of our own files says so; stderr hears of them this often, in milliseconds. */
const ALARM_EVERY_MS = 10_000;
/** How long the end of a process waits for its records to be sent; what is not sent stays in the spool. */
const FLUSH_MS = 5000;

/** The running audit of this thread. */
export class AuditRuntime {
  readonly config: AuditConfig;
  readonly coverage: Coverage;
  readonly #watch: PolicyWatch;
  readonly #ownFiles: OwnFiles;
  readonly #core: Core;
  #approver: NamedApprover | undefined;
  #alarmedAt = Number.NEGATIVE_INFINITY;
  readonly #installed: readonly Installed[];
  readonly #spool: Spool;
  readonly #shipper: Shipper;
  readonly #records: ControlRecords;
  readonly #timers: NodeJS.Timeout[] = [];
  #exitFlush: Promise<boolean> | undefined;
  #unwatchEnd: (() => void) | undefined;

  /** @throws InstrumentationError SPOOL if there is nowhere to write records to: nothing is patched then. */
  constructor(config: AuditConfig, drivers: readonly Driver[]) {
    this.config = config;
    const { policyFile, spoolDir, dataDir } = config;
    this.#watch = ownWork(() => new PolicyWatch(policyFile, config.mode, (change) => this.#policyChanged(change)));
    const gap = unsupported();
    if (gap !== undefined && this.gate.mode === "enforce") {
      throw new InstrumentationError("UNSUPPORTED", `what cannot be seen cannot be enforced: ${gap}`);
    }
    if (config.approver !== undefined) this.#approver = endpointApprover(config.approver, config.approverHeaders);
    const resource = {
      ...config.resource,
      [ATTR_AUDIT_PRODUCER_ID]: randomUUID(),
      [ATTR_PROCESS_PID]: process.pid,
      [ATTR_PROCESS_RUNTIME_NAME]: "nodejs",
      [ATTR_PROCESS_RUNTIME_VERSION]: process.versions.node,
      [ATTR_HOST_NAME]: hostname(),
    };
    const owner = thisOwner(resource, { name: SCOPE_NAME, version: VERSION });
    this.#spool = ownWork(() => new Spool(config.spoolDir, owner, config.spoolMaxBytes, () => this.#shipper.wake()));
    this.#shipper = new Shipper(this.#spool, config, say, (file) => {
      core.lose(file.records ?? 0);
      say(`records were removed from the spool before they were sent: ${file.path}`);
      this.#records.bypass("spool_removed", `${file.path}, ${file.records ?? "an unknown number of"} records`);
    });
    this.#ownFiles = ownWork(() => new OwnFiles({ policyFile, spoolDir, dataDir }));
    const reviews = new Reviews({ approver: () => this.#approver, timeoutMs: config.approverTimeoutMs });
    const core = new Core({
      policy: this.gate.policy,
      mode: this.gate.mode,
      unattributed: config.unattributed,
      unattributedMode: this.#unattributedMode,
      defaults: new Defaults([spoolDir, dataDir, ...(policyFile === undefined ? [] : [policyFile])]),
      ownFiles: this.#ownFiles,
      onOwnFile: (target, event, recordId) => this.#alarm(`${event} on ${target.id}`, recordId),
      reviewDesk: () => desk,
      sink: this.#spool,
      whenFull: config.spoolFull,
      onTrouble: say,
    });
    this.#core = core;
    setAmbientActor(config.agent, config.cause);
    configurePropagation(config.propagation);
    follow(config);
    onHookError((error, loaded) => say(`${loaded.name} ${loaded.version ?? ""} is not covered: ${String(error)}`));
    this.#installed = watchPatches(() => drivers.map((driver) => driver.install()));
    this.coverage = new Coverage(this.#installed.flatMap((installed) => installed.covered));
    this.#records = new ControlRecords(core, () => this.gate, this.coverage, config.agent);
    const desk = new ReviewDesk(reviews, this.#records);
    this.#records.start();
    this.#records.policyLoaded(config.policyFile);
    if (gap !== undefined) this.#records.bypass("runtime", gap);
    this.#lookAround();
    onUnattributedBypass((kind, detail) => this.#records.bypass(kind, detail));
    core.takeCounts();
    connect(core);
    this.#startTimers();
    this.#watchEnd();
  }

  /** The policy in force. */
  get gate(): Gate {
    return this.#watch.gate;
  }

  /** Takes the function that decides on reviews, once; whoever comes later is not the one that was meant. */
  setApprover(approver: Approver): void {
    if (this.#approver === undefined) this.#approver = functionApprover(approver);
    else if (this.config.approver !== undefined) say("OTEL_AUDIT_APPROVER is set: it is asked, not the function");
    else this.#records.bypass("approver_replaced", "an approver was set again; the first one stays");
  }

  /**
   * Sends what is recorded so far, one attempt, for at most `timeoutMs`. Resolves to whether nothing is left; what is
   * left stays in the spool.
   */
  flush(timeoutMs = FLUSH_MS): Promise<boolean> {
    return asOurselves(async () => {
      let patience: NodeJS.Timeout | undefined;
      // Our sockets do not keep the process alive; this timer does, and not for long.
      const timeout = new Promise<boolean>((resolve) => {
        patience = setTimeout(() => resolve(false), timeoutMs);
      });
      const done = await Promise.race([this.#shipper.flush(), timeout]);
      clearTimeout(patience);
      return done;
    });
  }

  /**
   * Stops recording, and records that it stopped: from here on the process is not audited.
   * @param who how it came, for the record
   */
  stop(who: string): void {
    this.#records.bypass("audit_disabled", who);
    this.#summary();
    connect(undefined);
    setAmbientActor(undefined);
    follow(undefined);
    for (const installed of this.#installed) installed.uninstall();
    for (const timer of this.#timers) clearTimeout(timer);
    this.#shipper.wake();
    say(`the audit was switched off (${who}); actions are no longer recorded`);
  }

  /** Stops, sends what there is and leaves nothing running. */
  async shutdown(who: string): Promise<void> {
    this.stop(who);
    await this.flush();
    this.#shipper.stop();
    this.#unwatchEnd?.();
    ownWork(() => this.#spool.close());
  }

  /** An operator who says "deny" without a policy means it; with one, its mode says whether anything is stopped. */
  get #unattributedMode(): PolicyMode {
    return this.config.mode ?? (this.config.policyFile === undefined ? "enforce" : this.gate.mode);
  }

  /** The file of the policy is another one. */
  #policyChanged({ gate, error }: PolicyChange): void {
    const file = this.config.policyFile ?? "";
    ownWork(() => this.#ownFiles.refresh());
    if (error === undefined) {
      this.#records.policyLoaded(file);
      this.#core.use(gate.policy, gate.mode, this.#unattributedMode);
    } else this.#records.policyRefused(file, error);
    if (!isMainThread) return;
    if (error === undefined) say(`the policy was changed: ${gate.policy.id}, mode ${gate.mode}`);
    else say(`the changed policy cannot be used, ${gate.policy.id} stays in force: ${error.message}`);
    if (error === undefined) for (const warning of gate.warnings) say(`policy warning: ${warning}`);
  }

  #alarm(what: string, recordId: string): void {
    this.#records.bypass(OWN_FILES_RULE, what, recordId);
    const now = monotonicMs();
    if (now - this.#alarmedAt < ALARM_EVERY_MS) return;
    this.#alarmedAt = now;
    say(`ALARM: stopped ${what}, which belongs to the audit (record ${recordId})`);
  }

  #summary(): void {
    this.#lookAround();
    this.#records.summary();
  }

  /** Ways around the audit that are no call. */
  #lookAround(): void {
    for (const { kind, detail } of look()) this.#records.bypass(kind, detail);
  }

  #startTimers(): void {
    asOurselves(() => {
      const leftovers = (): void => {
        const claimed = ownWork(() => this.#spool.claimLeftovers());
        if (claimed > 0) this.#shipper.wake();
      };
      const housekeeping = (): void => {
        this.#lookAround();
        ownWork(() => this.#spool.touch());
        leftovers();
      };
      this.#timers.push(
        setTimeout(() => attempt(leftovers), LEFTOVERS_AFTER_MS).unref(),
        setInterval(() => attempt(housekeeping), HOUSEKEEPING_EVERY_MS).unref(),
        setInterval(() => this.#summary(), SUMMARY_EVERY_MS).unref(),
        setInterval(() => ownWork(() => this.#watch.look()), LOOK_EVERY_MS).unref(),
      );
    });
  }

  /**
   * Not as a listener: one that goes on working at `beforeExit` makes Node emit it twice, and the application's own
   * listeners would run twice. They hear of it when our work is done.
   */
  #watchEnd(): void {
    const beforeExit = (): boolean => this.#beforeExit();
    const exit = (): void => this.#exit();
    this.#unwatchEnd = replace(
      process,
      "emit",
      (emit) =>
        function (this: unknown, ...args: unknown[]): unknown {
          if (args[0] === "beforeExit" && beforeExit()) return false;
          if (args[0] !== "exit") return Reflect.apply(emit, this, args);
          try {
            return Reflect.apply(emit, this, args);
          } finally {
            exit();
          }
        },
    );
  }

  /** The application has nothing more to do: sends the rest, once, within bounds. Whether there is something to do. */
  #beforeExit(): boolean {
    if (this.#exitFlush !== undefined) return false;
    this.#summary();
    attempt(() => ownWork(() => this.#spool.claimLeftovers()));
    if (this.#spool.isEmpty) return false;
    this.#exitFlush = this.flush();
    return true;
  }

  /** No more turns of the event loop: what is written now waits in the spool for the next process. */
  #exit(): void {
    this.#summary();
    attempt(() => ownWork(() => this.#spool.close()));
  }
}

/** One line for people on stderr. Synchronous, because the process may be about to end. */
export function say(message: string): void {
  try {
    ownWork(() => writeSync(2, `otel-audit: ${message}\n`));
  } catch {
    // Nobody listens. Records do not depend on it.
  }
}

/** What the start line says: who, under which policy, to where, and what is seen. */
function startLine(runtime: AuditRuntime): string {
  const { config, gate, coverage } = runtime;
  const agent = config.agent?.id ?? `none (unattributed: ${config.unattributed})`;
  const policy = gate.error === undefined ? gate.policy.id : `unusable, every action is denied by policy_error`;
  return (
    `agent ${agent}; policy ${policy}; mode ${gate.mode}; to ${config.endpoint.origin}; ` +
    `covered: ${coverage.covered.join(", ")}; not covered: ${coverage.uncovered.join(", ")}`
  );
}

/** Says the start line, once for a process, and what is wrong with the policy. */
export function announce(runtime: AuditRuntime): void {
  if (!isMainThread) return;
  // The output of a process that another one started is read by that one.
  if (!isFollowed()) say(startLine(runtime));
  if (runtime.gate.error !== undefined) {
    const effect = runtime.gate.mode === "enforce" ? "every action is stopped" : "every action is recorded as denied";
    say(`the policy cannot be used, ${effect}: ${runtime.gate.error.message}`);
  }
  for (const warning of runtime.gate.warnings) say(`policy warning: ${warning}`);
}

function attempt(fn: () => unknown): void {
  try {
    fn();
  } catch (error) {
    say(`housekeeping of the spool failed: ${error instanceof Error ? error.message : String(error)}`);
  }
}
