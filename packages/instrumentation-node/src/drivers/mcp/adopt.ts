import { replace } from "../../patch.ts";
import { isObject, property } from "../../unknown.ts";
import { wrapRequest } from "./client.ts";
import { wrapSetRequestHandler } from "./server.ts";

const adopted = new Map<object, (() => void)[]>();
let watching = false;

/** Patches the class Protocol of one loaded copy of the SDK. Called by the copy's own module, see source.ts. */
export function adopt(protocol: unknown): void {
  const prototype = property(protocol, "prototype");
  if (!watching || !isObject(prototype) || adopted.has(prototype)) return;
  const undo = [
    replace(prototype, "request", wrapRequest),
    replace(prototype, "setRequestHandler", wrapSetRequestHandler),
  ];
  adopted.set(
    prototype,
    undo.filter((restore) => restore !== undefined),
  );
}

export function watch(): void {
  watching = true;
}

/** Takes the patches out, and makes no new ones. */
export function release(): void {
  watching = false;
  for (const undo of adopted.values()) for (const restore of undo) restore();
  adopted.clear();
}
