import { begin, observes, type Operation } from "../../audit.ts";
import { bindIdentity, type Tool, toolAction, withCause } from "../../identity.ts";
import { isPromise, whenSettled } from "../../intrinsics.ts";
import { metaOf } from "../../propagation/propagation.ts";
import { cleanName } from "../../text.ts";
import { type AnyFunction, isObject, property } from "../../unknown.ts";
import {
  attributesOf,
  type Connection,
  connectionOf,
  errorOf,
  failureOf,
  serverName,
  TOOLS_CALL,
} from "./connection.ts";

/** The way of every request of a client, `callTool` and the streams of experimental tasks among them. */
export function wrapRequest(original: AnyFunction): AnyFunction {
  return function (this: unknown, ...args: unknown[]): unknown {
    const [request] = args;
    if (!isObject(request) || request["method"] !== TOOLS_CALL || !observes()) {
      return Reflect.apply(original, this, args);
    }
    return callTool(this, original, request, args);
  };
}

function callTool(
  client: unknown,
  original: AnyFunction,
  request: Record<PropertyKey, unknown>,
  args: unknown[],
): unknown {
  const connection = connectionOf(client);
  const tool: Tool = { name: cleanName(property(request["params"], "name")) ?? "unknown", callId: undefined };
  const server = serverName(property(client, "_serverVersion"));
  const operation = begin(toolAction(tool, server, attributesOf(connection)), true);
  if (operation === undefined) return Reflect.apply(original, client, args);
  const send = (): unknown => {
    if (operation.denied !== undefined) return Promise.reject(operation.denied);
    const told = [tell(request, operation, connection), ...args.slice(1)];
    return follow(
      operation,
      withCause(operation.recordId, tool, () => Reflect.apply(original, client, told)),
    );
  };
  return operation.decided === undefined ? send() : operation.decided.then(bindIdentity(send));
}

/** The request with what the server's audit needs to know, for it alone: the caller's object stays as it is. */
function tell(request: Record<PropertyKey, unknown>, { recordId }: Operation, connection: Connection): object {
  const params = property(request, "params");
  const meta = property(params, "_meta");
  return {
    ...request,
    params: {
      ...(isObject(params) ? params : undefined),
      _meta: { ...(isObject(meta) ? meta : undefined), ...metaOf(recordId, connection.isPipe) },
    },
  };
}

function follow(operation: Operation, answer: unknown): unknown {
  if (isPromise(answer)) {
    void whenSettled(
      answer,
      (result) => operation.end(errorOf(result)),
      (error) => operation.end(failureOf(error)),
    );
  } else {
    operation.end();
  }
  return answer;
}
