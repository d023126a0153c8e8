import { createRequire } from "node:module";

import { isFunction, property } from "./unknown.ts";

/** The package's main file: the copy that `--import` or `module.register` loaded for the loader's main side. */
const MAIN = /[/\\]import-in-the-middle[/\\]index\.js$/;

/**
 * ES modules do not always see a builtin itself. import-in-the-middle, the loader hook of OpenTelemetry and of other
 * tracers, gives them a copy of its exports that is taken at the first import: what is patched in the builtin later,
 * `syncBuiltinESMExports` or not, does not reach `import { readFile } from "fs"` then. These are the copies that exist
 * already, to be patched as well; those taken from now on are taken of what is patched.
 *
 * @param builtin without `node:`
 */
export function earlierCopies(builtin: string): object[] {
  const copies: object[] = [];
  for (const module of Object.values(createRequire(import.meta.url).cache)) {
    if (module === undefined || !MAIN.test(module.filename)) continue;
    const Hook: unknown = property(module.exports, "Hook");
    if (!isFunction(Hook)) continue;
    try {
      const collect = (copy: unknown): void => {
        if (typeof copy === "object" && copy !== null) copies.push(copy);
      };
      const hook: unknown = Reflect.construct(Hook, [[builtin], collect]);
      const unhook = property(hook, "unhook");
      if (isFunction(unhook)) Reflect.apply(unhook, hook, []);
    } catch {
      // A version that works in another way: nothing to patch is known of it.
    }
  }
  return copies;
}
