import { http } from "../../builtins.ts";
import { isFunction, isObject, property } from "../../unknown.ts";

/** A request whose connection the application makes itself, by `createConnection`: held until it was judged. */
interface OwnWay {
  /** What Node is called with instead. */
  readonly args: unknown[];
  /** The options of the connection; undefined while nobody asked for one. */
  readonly options: unknown;
  /** Has the application make it. */
  readonly connect: () => void;
}

/** The own way of a request by its arguments; undefined for the common one, by an agent. */
export function ownWay(args: readonly unknown[]): OwnWay | undefined {
  const at = optionsAt(args);
  const options = args[at];
  if (!isObject(options) || isFunction(options)) return undefined;
  const { agent, createConnection } = options;
  if (isObject(agent) || agent === false || !isFunction(createConnection)) return undefined;
  let asked: { readonly self: unknown; readonly args: unknown[] } | undefined;
  const later = function (this: unknown, ...given: unknown[]): void {
    asked = { self: this, args: given };
  };
  return {
    args: args.with(at, { ...options, createConnection: later }),
    get options() {
      return asked?.args[0];
    },
    connect: () => {
      const done = asked?.args[1];
      const give = (...result: unknown[]): unknown =>
        isFunction(done) ? Reflect.apply(done, undefined, result) : undefined;
      // As Node does around its call.
      try {
        const socket: unknown = Reflect.apply(createConnection, asked?.self, asked?.args ?? []);
        if (socket) give(null, socket);
      } catch (error) {
        give(error);
      }
    },
  };
}

/** The object that has the `addRequest` of an agent that is none of Node's; undefined for one that inherits theirs. */
export function foreignAgent(args: readonly unknown[]): object | undefined {
  const options = args[optionsAt(args)];
  const agent = isFunction(options) ? undefined : property(options, "agent");
  if (!isObject(agent) || agent["addRequest"] === property(http.Agent.prototype, "addRequest")) return undefined;
  for (let at: unknown = agent; isObject(at); at = Object.getPrototypeOf(at)) {
    if (Object.hasOwn(at, "addRequest")) return at;
  }
  return undefined;
}

/** After the URL, as Node tells that from options. */
function optionsAt([first]: readonly unknown[]): number {
  if (typeof first === "string" || first === undefined) return 1;
  const isUrl =
    property(first, "href") &&
    property(first, "protocol") &&
    property(first, "auth") === undefined &&
    property(first, "path") === undefined;
  return isUrl ? 1 : 0;
}
