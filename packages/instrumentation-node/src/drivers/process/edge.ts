import * as module from "node:module";

import { noticeBypass, type BypassKind } from "../../bypass.ts";
import type { Driver, Installed } from "../../driver.ts";
import { replace } from "../../patch.ts";
import type { AnyFunction } from "../../unknown.ts";

/**
 * Ways around the audit that are a call: they are recorded as `audit.bypass`, and go on unless a rule of the policy says
 * otherwise. Those that are no call are found by looking (edge.ts).
 */
export const edgeDriver: Driver = { name: "edge", install };

/** Node's inside, as far as it acts: by these a program does what the patched functions do. */
const ACTING_BINDINGS: ReadonlySet<unknown> = new Set([
  "cares_wrap",
  "contextify",
  "fs",
  "fs_event_wrap",
  "inspector",
  "js_stream",
  "pipe_wrap",
  "process_wrap",
  "spawn_sync",
  "stream_wrap",
  "tcp_wrap",
  "tls_wrap",
  "tty_wrap",
  "udp_wrap",
]);

interface Way {
  readonly holder: object;
  readonly name: string;
  readonly kind: BypassKind;
  /** What is said of a call; undefined: it goes around nothing. */
  readonly detail: (args: readonly unknown[]) => string | undefined;
}

const WAYS: readonly Way[] = [
  {
    holder: process,
    name: "binding",
    kind: "process_binding",
    detail: ([name]) => (ACTING_BINDINGS.has(name) ? `process.binding("${String(name)}")` : undefined),
  },
  {
    holder: process,
    name: "dlopen",
    kind: "native_addon",
    detail: ([, file]) => (typeof file === "string" ? file : undefined),
  },
  {
    holder: module.default,
    name: "register",
    kind: "module_hooks",
    detail: ([specifier]) => `module.register("${withoutCode(specifier)}")`,
  },
];

/** A data URL is the code itself. */
function withoutCode(specifier: unknown): string {
  const text = typeof specifier === "string" || specifier instanceof URL ? String(specifier) : "";
  return text.startsWith("data:") ? "data:" : text;
}

function install(): Installed {
  const undo = WAYS.map((way) => replace(way.holder, way.name, (original) => wrap(way, original)));
  module.syncBuiltinESMExports();
  return {
    covered: [],
    uninstall: () => {
      for (const restore of undo) restore?.();
      module.syncBuiltinESMExports();
    },
  };
}

function wrap({ kind, detail }: Way, original: AnyFunction): AnyFunction {
  return function (this: unknown, ...args: unknown[]): unknown {
    const said = detail(args);
    const denied = said === undefined ? undefined : noticeBypass(kind, said);
    if (denied !== undefined) throw denied;
    return Reflect.apply(original, this, args);
  };
}
