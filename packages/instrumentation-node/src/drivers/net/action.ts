import {
  ATTR_NETWORK_TRANSPORT,
  ATTR_SERVER_ADDRESS,
  ATTR_SERVER_PORT,
  EVENT_CONNECTION_OPEN,
} from "@otel-audit/semantic-conventions";

import type { ObservedAction } from "../../audit.ts";
import { canonicalHost } from "../http/target.ts";
import type { Address } from "./expected.ts";

/** A raw connection. What goes through it is not seen, so it may change anything: WRITE. */
export function connectionAction(
  transport: "tcp" | "udp",
  { host = "localhost", port, path }: Address,
): ObservedAction {
  if (path !== undefined) {
    return {
      event: EVENT_CONNECTION_OPEN,
      action: "WRITE",
      targets: [{ type: "socket", id: `unix:${path}` }],
      attributes: { [ATTR_NETWORK_TRANSPORT]: "unix", [ATTR_SERVER_ADDRESS]: path },
    };
  }
  const name = canonicalHost(host);
  const telling = port === undefined || Number.isNaN(port) ? undefined : port;
  return {
    event: EVENT_CONNECTION_OPEN,
    action: "WRITE",
    targets: [{ type: "socket", id: `${transport}://${name}${telling === undefined ? "" : `:${telling}`}` }],
    attributes: {
      [ATTR_NETWORK_TRANSPORT]: transport,
      [ATTR_SERVER_ADDRESS]: name.startsWith("[") ? name.slice(1, -1) : name,
      ...(telling === undefined ? undefined : { [ATTR_SERVER_PORT]: telling }),
    },
  };
}
