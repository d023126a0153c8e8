import { closeSync, openSync, readSync } from "node:fs";
import { isMainThread } from "node:worker_threads";

import type { BypassKind } from "./bypass.ts";
import { ownWork } from "./own-work.ts";
import { beneathOthers, changedPatches } from "./patch.ts";
import { property } from "./unknown.ts";

/** Something that goes around the audit, noticed by looking. */
interface Finding {
  readonly kind: BypassKind;
  readonly detail: string;
}

/** Parts of Node that act, or let others in, without a call that could be wrapped beforehand: to load one says enough. */
const BUILTINS: Readonly<Record<string, BypassKind>> = {
  ffi: "native_addon",
  inspector: "inspector",
  wasi: "uncovered_builtin",
};

/** Flags of the process, with or without a value. */
const FLAGS: readonly (readonly [pattern: RegExp, kind: BypassKind])[] = [
  [/^--inspect(?:-brk|-wait)?(?:=|$)/, "inspector"],
  [/^--expose[-_]internals$/, "node_flag"],
  [/^--(?:experimental-)?loader(?:=|$)/, "module_hooks"],
];

const found = new Set<string>();

/** What was not there when it was looked for the last time. */
export function look(): readonly Finding[] {
  const findings = [...patches(), ...loadedBuiltins(), ...flags()];
  return findings.filter(({ kind, detail }) => {
    const key = `${kind} ${detail}`;
    const isNew = !found.has(key);
    found.add(key);
    return isNew;
  });
}

function patches(): Finding[] {
  const { removed, replaced } = changedPatches();
  return [
    ...(removed.length === 0 ? [] : [{ kind: "patch_removed", detail: removed.join(", ") } as const]),
    ...(replaced.length === 0 ? [] : [{ kind: "patch_replaced", detail: replaced.join(", ") } as const]),
  ];
}

function loadedBuiltins(): Finding[] {
  const list = property(process, "moduleLoadList");
  if (!Array.isArray(list)) return [];
  return Object.entries(BUILTINS).flatMap(([name, kind]) =>
    list.includes(`NativeModule ${name}`) ? [{ kind, detail: `node:${name} was loaded` }] : [],
  );
}

function flags(): Finding[] {
  const given = [...process.execArgv, ...(process.env["NODE_OPTIONS"] ?? "").split(/\s+/)];
  return FLAGS.flatMap(([pattern, kind]) => {
    const flag = given.find((text) => pattern.test(text));
    // Its value may be anything.
    return flag === undefined ? [] : [{ kind, detail: flag.split("=", 1)[0] ?? "" }];
  });
}

const HEAD_BYTES = 256 * 1024;
/** What webpack, ncc, esbuild, rolldown and parcel write around the packages that they put into a file. */
const BUNDLE =
  /__webpack_(?:require|modules)__|__nccwpck_require__|\b__commonJS(?:Min)? ?= ?\(|\bparcelRequire\b|\$parcel\$/;

/** Why not everything can be seen in this process, in words; undefined where nothing is known to be amiss. */
export function unsupported(main = process.argv[1]): string | undefined {
  const { bun } = process.versions;
  if (bun !== undefined) return `Bun ${bun} has files, connections and processes of its own, which are not seen`;
  if (property(globalThis, "Deno") !== undefined) {
    return "Deno has files, connections and processes of its own, which are not seen";
  }
  if (isMainThread && main !== undefined && ownWork(() => isBundle(main))) {
    return `${main} is a bundle: packages in it are not seen, but for what they do by Node's own modules`;
  }
  return undefined;
}

function isBundle(file: string): boolean {
  try {
    const head = Buffer.alloc(HEAD_BYTES);
    const fd = beneathOthers(openSync)(file, "r");
    try {
      return BUNDLE.test(head.toString("latin1", 0, readSync(fd, head)));
    } finally {
      closeSync(fd);
    }
  } catch {
    // `node app` for app.js: Node finds it, and there are no bundles that are started so.
    return false;
  }
}
