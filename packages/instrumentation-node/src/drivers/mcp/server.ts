import { begin, observes, type Operation } from "../../audit.ts";
import { bindIdentity, runIn, type Tool, toolAction, withCause } from "../../identity.ts";
import { scopeOfMeta } from "../../propagation/propagation.ts";
import { cleanName } from "../../text.ts";
import { type AnyFunction, isFunction, property } from "../../unknown.ts";
import {
  attributesOf,
  type Connection,
  connectionOf,
  errorOf,
  failureOf,
  serverName,
  TOOLS_CALL,
} from "./connection.ts";

/** Where a server says what answers which requests; McpServer, its tools and subclasses come through here, too. */
export function wrapSetRequestHandler(original: AnyFunction): AnyFunction {
  return function (this: unknown, ...args: unknown[]): unknown {
    const [schema, handler, ...rest] = args;
    if (!isFunction(handler)) return Reflect.apply(original, this, args);
    return Reflect.apply(original, this, [schema, wrapHandler(this, handler), ...rest]);
  };
}

function wrapHandler(server: unknown, handler: AnyFunction): AnyFunction {
  return function (this: unknown, ...args: unknown[]): unknown {
    const call = (): unknown => Reflect.apply(handler, this, args);
    const [request, extra] = args;
    return property(request, "method") === TOOLS_CALL ? serve(server, request, extra, call) : call();
  };
}

function serve(server: unknown, request: unknown, extra: unknown, call: () => unknown): unknown {
  const connection = requestConnection(server, extra);
  return runIn(scopeOfMeta(property(extra, "_meta"), connection.isPipe), () => {
    if (!observes()) return call();
    const tool: Tool = {
      name: cleanName(property(property(request, "params"), "name")) ?? "unknown",
      callId: undefined,
    };
    const name = serverName(property(server, "_serverInfo"));
    const operation = begin({ ...toolAction(tool, name, attributesOf(connection)), side: "server" }, true);
    if (operation === undefined) return call();
    const run = (): unknown =>
      operation.denied === undefined ? answer(operation, tool, call) : refuse(operation.denied);
    return operation.decided === undefined ? run() : operation.decided.then(bindIdentity(run));
  });
}

/** A request that came by HTTP says so. */
function requestConnection(server: unknown, extra: unknown): Connection {
  const connection = connectionOf(server);
  return property(extra, "requestInfo") === undefined ? connection : { ...connection, isPipe: false };
}

async function answer(operation: Operation, tool: Tool, call: () => unknown): Promise<unknown> {
  try {
    const result = await withCause(operation.recordId, tool, call);
    operation.end(errorOf(result));
    return result;
  } catch (error) {
    operation.end(failureOf(error));
    throw error;
  }
}

/** As a tool says that it failed: the model is meant to read it. */
function refuse(denied: Error): object {
  return { content: [{ type: "text", text: denied.message }], isError: true };
}
