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
    Error.prepareStackTrace = (_error, frames) => frames.some(isGetSource);
    const found: unknown = new Error("where").stack;
    return found === true;
  } catch {
    return false;
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
    if (prepareStackTrace === undefined) Reflect.deleteProperty(Error, "prepareStackTrace");
    else Object.defineProperty(Error, "prepareStackTrace", prepareStackTrace);
  }
}

function isGetSource(frame: NodeJS.CallSite): boolean {
  return (
    frame.getFileName() === "node:internal/modules/esm/load" && (frame.getFunctionName() ?? "").startsWith("getSource")
  );
}
