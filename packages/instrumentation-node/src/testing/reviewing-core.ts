import { type AuditCore, connect, type Operation } from "../audit.ts";
import type { Driver } from "../driver.ts";
import { AuditPolicyDeniedError } from "../errors.ts";
import { property } from "../unknown.ts";

/** A core that asks about every action, and answers when it is told to. */
export interface ReviewingCore {
  /** How each action ended, in the order of their ends: `target` and `success` or the error's code. */
  readonly ended: string[];
  /** How many actions wait. */
  readonly waiting: number;
  /** Answers all that wait. */
  answer(allow: boolean): void;
  [Symbol.dispose](): void;
}

/** Installs drivers in this process over a core that only reviews. */
export function reviewingCore(drivers: readonly Driver[]): ReviewingCore {
  const ended: string[] = [];
  const waiting: ((allow: boolean) => void)[] = [];
  const core: AuditCore = {
    observes: () => true,
    count: () => {},
    begin: (action, canWait): Operation => {
      const target = action.targets[0]?.id ?? "";
      const denial = { rule: "review", reason: "said no", recordId: "1", event: action.event, target };
      const { promise, resolve } = Promise.withResolvers<void>();
      let denied = canWait ? undefined : new AuditPolicyDeniedError(denial);
      let over = false;
      waiting.push((allow) => {
        if (!allow) denied = new AuditPolicyDeniedError(denial);
        resolve();
      });
      return {
        get denied() {
          return denied;
        },
        decided: canWait ? promise : undefined,
        recordId: "1",
        end: (error) => {
          if (denied !== undefined || over) return;
          over = true;
          ended.push(`${target} ${error === undefined ? "success" : nameOf(error)}`);
        },
      };
    },
  };
  const installed = drivers.map((driver) => driver.install());
  connect(core);
  return {
    ended,
    get waiting() {
      return waiting.length;
    },
    answer: (allow) => {
      for (const each of waiting.splice(0)) each(allow);
    },
    [Symbol.dispose]: () => {
      connect(undefined);
      for (const driver of installed) driver.uninstall();
    },
  };
}

function nameOf(error: unknown): string {
  return typeof error === "string" ? error : String(property(error, "code"));
}
