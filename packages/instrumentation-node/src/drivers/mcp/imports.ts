import * as module from "node:module";

import { handOver } from "./source.ts";

/**
 * Makes the ES module that has the class hand it to `adopt` when it is evaluated. ES modules are out of reach otherwise:
 * their exports cannot be replaced, and nobody knows when they are loaded. In the thread itself where Node can
 * (22.15 and newer), so that it needs no second thread.
 */
export function watchImports(): () => void {
  if (typeof module.registerHooks !== "function") {
    // It cannot be taken back: a class that is handed over later is left as it is.
    module.register(new URL("loader.js", import.meta.url).href);
    return () => {};
  }
  const hooks = module.registerHooks({
    load: (url, context, nextLoad) => handOver(url, nextLoad(url, context)),
  });
  return () => hooks.deregister();
}
