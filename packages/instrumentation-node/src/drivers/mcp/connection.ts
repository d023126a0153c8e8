import {
  ATTR_MCP_METHOD_NAME,
  ATTR_MCP_SESSION_ID,
  ATTR_SERVER_ADDRESS,
  ATTR_SERVER_PORT,
} from "@otel-audit/semantic-conventions";
import type { AttributeValue } from "@otel-audit/otlp";

import { cleanName } from "../../text.ts";
import { property } from "../../unknown.ts";

export const TOOLS_CALL = "tools/call";

/** What a Protocol talks through. */
export interface Connection {
  /** Standard input and output of a process, ours or a child's. */
  readonly isPipe: boolean;
  /** A client's server. */
  readonly url: URL | undefined;
  readonly sessionId: string | undefined;
}

export function connectionOf(protocol: unknown): Connection {
  const transport = property(protocol, "transport");
  const url = property(transport, "_url");
  const sessionId = cleanName(property(transport, "sessionId"));
  return { isPipe: isStdio(transport), url: url instanceof URL ? url : undefined, sessionId };
}

/** By name: the copies of the SDK have a class each, and this is only asked about processes that we talk to anyway. */
function isStdio(transport: unknown): boolean {
  const name = property(property(transport, "constructor"), "name");
  return name === "StdioClientTransport" || name === "StdioServerTransport";
}

/** How a server calls itself, on both sides of a connection. */
export function serverName(info: unknown): string | undefined {
  return cleanName(property(info, "name"));
}

export function attributesOf({ url, sessionId }: Connection): Readonly<Record<string, AttributeValue>> {
  return {
    [ATTR_MCP_METHOD_NAME]: TOOLS_CALL,
    ...(sessionId === undefined ? undefined : { [ATTR_MCP_SESSION_ID]: sessionId }),
    ...(url === undefined
      ? undefined
      : {
          [ATTR_SERVER_ADDRESS]: url.hostname,
          [ATTR_SERVER_PORT]: Number(url.port || (url.protocol === "https:" ? 443 : 80)),
        }),
  };
}

/** `error.type` of an answer that says that the tool failed, by the semantic conventions for MCP. */
const TOOL_ERROR = "tool_error";

/** How a call ended, for its record. */
export function errorOf(result: unknown): string | undefined {
  return property(result, "isError") === true ? TOOL_ERROR : undefined;
}

/** JSON-RPC numbers its errors below zero. */
export function failureOf(error: unknown): unknown {
  const code = property(error, "code");
  return typeof code === "number" && Number.isSafeInteger(code) ? String(code) : (error ?? "_OTHER");
}
