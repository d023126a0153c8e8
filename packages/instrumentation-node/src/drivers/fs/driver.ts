import * as module from "node:module";
import fs from "node:fs";

import type { Driver, Installed } from "../../driver.ts";
import { watchModuleLoading } from "../../module-hook.ts";
import { replace } from "../../patch.ts";
import type { AnyFunction } from "../../unknown.ts";
import { COUNTED, type Row, ROWS, type Style } from "./table.ts";
import { wrapCounted, WRAPS } from "./wrap.ts";

/**
 * Files. The CommonJS objects of `fs` and `fs.promises` are mutated, and Node copies them to the ES module views: that
 * covers every style of import. Streams need no patch of their own, they open through `fs.open`.
 */
export const fsDriver: Driver = { name: "fs", install };

function install(): Installed {
  watchModuleLoading();
  const undo = [...ROWS.flatMap(patchRow), ...COUNTED.flatMap(({ name, kind }) => patchCounted(name, kind))];
  module.syncBuiltinESMExports();
  return {
    covered: ["fs"],
    uninstall: () => {
      for (const restore of undo) restore();
      module.syncBuiltinESMExports();
    },
  };
}

function patchRow(row: Row): (() => void)[] {
  const patch = (holder: object, name: string, style: Style) =>
    replace(holder, name, (original) => WRAPS[style](row, original));
  return [
    patch(fs, row.name, row.plain ?? "callback"),
    patch(fs, `${row.name}Sync`, "sync"),
    patch(fs.promises, row.name, row.promises ?? "promise"),
  ].filter((undo) => undo !== undefined);
}

function patchCounted(name: string, kind: string): (() => void)[] {
  const make = (original: AnyFunction): AnyFunction => wrapCounted(kind, original);
  return [replace(fs, name, make), replace(fs, `${name}Sync`, make), replace(fs.promises, name, make)].filter(
    (undo) => undo !== undefined,
  );
}
