import { rethrowOverflow } from "../../intrinsics.ts";

/**
 * Whether the ESM loader is asking: it reads modules through the public functions too, with a URL (`readFileSync` from
 * Node 22 on, `promises.readFile` before). Applications rarely pass URLs, so that a look at the stack is affordable.
 */
export function isEsmLoaderRead(argument: unknown): boolean {
  if (!(argument instanceof URL)) return false;
  const { stackTraceLimit } = Error;
  const prepareStackTrace = Object.getOwnPropertyDescriptor(Error, "prepareStackTrace");
  try {
    Error.stackTraceLimit = 12;
    Error.prepareStackTrace = (_error, frames) => frames.some(isReader);
    const found: unknown = new Error("where").stack;
    return found === true;
  } catch (error) {
    rethrowOverflow(error);
    return false;
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
    if (prepareStackTrace === undefined) Reflect.deleteProperty(Error, "prepareStackTrace");
    else Object.defineProperty(Error, "prepareStackTrace", prepareStackTrace);
  }
}

/** By file and the beginning of the function's name; a module's own code does not run inside of these. */
const READERS: Readonly<Record<string, string>> = {
  "node:internal/modules/esm/load": "getSource",
  // Node 22, of CommonJS where somebody has registered loader hooks.
  "node:internal/modules/esm/translators": "commonjsStrategy",
};

function isReader(frame: NodeJS.CallSite): boolean {
  const name = READERS[frame.getFileName() ?? ""];
  return name !== undefined && (frame.getFunctionName() ?? "").replace(/^.*\./, "").startsWith(name);
}
