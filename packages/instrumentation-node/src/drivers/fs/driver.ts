import * as module from "node:module";
import fs from "node:fs";

import type { Driver, Installed } from "../../driver.ts";
import { earlierCopies } from "../../loader-copies.ts";
import { watchModuleLoading } from "../../module-hook.ts";
import { replace } from "../../patch.ts";
import type { AnyFunction } from "../../unknown.ts";
import { patchElsewhere } from "./elsewhere.ts";
import { fileHandlePrototype, findFileHandle } from "./handles.ts";
import { COUNTED, HANDLE_ROWS, type Row, ROWS, type Style } from "./table.ts";
import { wrapCounted, WRAPS } from "./wrap.ts";

/**
 * Files. The CommonJS objects of `fs` and `fs.promises` are mutated, and Node copies them to the ES module views: that
 * covers every style of import, with the copies that loader hooks have taken. Streams need no patch of their own, they
 * open through `fs.open`.
 */
export const fsDriver: Driver = { name: "fs", prepare: findFileHandle, install };

type Undo = (() => void) | undefined;

/** Objects with the functions of `fs` and of `fs/promises`. */
interface Holders {
  readonly plain: readonly object[];
  readonly promises: readonly object[];
}

function install(): Installed {
  watchModuleLoading();
  const holders: Holders = {
    plain: [fs, ...earlierCopies("fs")],
    promises: [fs.promises, ...earlierCopies("fs/promises")],
  };
  const undo: Undo[] = [
    ...ROWS.flatMap((row) => patchRow(row, holders)),
    ...COUNTED.flatMap(({ name, kind }) => patchCounted(name, kind, holders)),
    ...patchElsewhere(),
  ];
  let isInstalled = true;
  // Without `prepare` the class of handles is not known yet.
  const handles = (): void => {
    if (isInstalled) undo.push(...HANDLE_ROWS.map(patchHandle));
  };
  if (fileHandlePrototype() === undefined) void findFileHandle().then(handles);
  else handles();
  module.syncBuiltinESMExports();
  return {
    covered: ["fs"],
    uninstall: () => {
      isInstalled = false;
      for (const restore of undo) restore?.();
      module.syncBuiltinESMExports();
    },
  };
}

function patchRow(row: Row, { plain, promises }: Holders): Undo[] {
  const patch = (holders: readonly object[], name: string, style: Style) =>
    holders.map((holder) => replace(holder, name, (original) => WRAPS[style](row, original)));
  return [
    ...patch(plain, row.name, row.plain ?? "callback"),
    ...patch(plain, `${row.name}Sync`, "sync"),
    ...patch(promises, row.name, row.promises ?? "promise"),
  ];
}

function patchCounted(name: string, kind: string, { plain, promises }: Holders): Undo[] {
  const patch = (holders: readonly object[], name: string) =>
    holders.map((holder) => replace(holder, name, (original: AnyFunction) => wrapCounted(kind, original)));
  return [...patch(plain, name), ...patch(plain, `${name}Sync`), ...patch(promises, name)];
}

function patchHandle(row: Row): Undo {
  const prototype = fileHandlePrototype();
  return prototype && replace(prototype, row.name, (original) => WRAPS.promise(row, original));
}
