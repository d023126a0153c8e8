import type { AttributeValue } from "@otel-audit/otlp";
import {
  ATTR_AUDIT_HTTP_HOST,
  ATTR_HTTP_RESPONSE_STATUS_CODE,
  ATTR_NETWORK_PEER_ADDRESS,
  ATTR_NETWORK_PEER_PORT,
} from "@otel-audit/semantic-conventions";

import { begin, type ObservedAction, type Operation } from "../../audit.ts";
import { type Actor, currentActor } from "../../identity.ts";
import { baggageOf, changesBaggage } from "../../propagation/propagation.ts";
import { property } from "../../unknown.ts";
import { httpAction, type HttpDestination, originOf, otherHost, portOf, seenByOthers } from "./target.ts";

/** The `error.type` of a request that was changed after its verdict; what was sent instead has a record of its own. */
const CHANGED = "changed_before_sent";

type Attributes = Readonly<Record<string, AttributeValue>>;

/** One request from its verdict to its outcome. */
export class Exchange {
  operation: Operation | undefined;
  readonly destination: HttpDestination;
  readonly #ownWay: boolean;
  // For the `baggage` header; the head may be rendered in another context than the caller's.
  readonly #actor: Actor | undefined = changesBaggage() ? currentActor() : undefined;
  #action: ObservedAction;
  #late: Attributes | undefined;

  /** @param ownWay the application looks the address up or opens the connection itself: the peer is recorded too */
  constructor(destination: HttpDestination, canWait: boolean, ownWay: boolean) {
    this.destination = destination;
    this.#ownWay = ownWay;
    this.#action = httpAction(destination);
    this.operation = begin(this.#action, canWait);
  }

  /**
   * Looks at the request as it is about to be sent: its method, path and Host can be changed until then. What it asks
   * for by then is judged anew, in a record of its own.
   */
  sending(method: string, path: string, hostHeader: string | undefined): void {
    const asked = this.destination;
    if (this.operation === undefined) return;
    if (method !== asked.method || path !== asked.path) {
      const action = httpAction({ ...asked, method, path, hostHeader });
      if (isSame(action, this.#action)) return;
      this.operation.end(CHANGED);
      this.#action = action;
      // Too late to wait: its connection may be there already.
      this.operation = begin(action, false);
    } else if (hostHeader !== asked.hostHeader) {
      const named = otherHost(hostHeader, originOf(asked.scheme, asked.host, asked.port));
      if (named !== undefined) this.#late = { [ATTR_AUDIT_HTTP_HOST]: named };
    }
  }

  /** Its `baggage` header; undefined: as it is, empty: none. */
  baggage(given: string | undefined): string | undefined {
    if (this.operation === undefined) return undefined;
    const asked = this.destination;
    const host = seenByOthers(asked) ? undefined : asked.host;
    return baggageOf(given, { host, port: portOf(asked), actor: this.#actor, recordId: this.operation.recordId });
  }

  answered(status: number, socket: unknown): void {
    if (this.operation === undefined) return;
    answered(this.operation, status, this.#ownWay ? { ...this.#late, ...peer(socket) } : this.#late);
  }

  failed(error: unknown): void {
    this.operation?.end(error, this.#late);
  }
}

/** Ends the record of a request by its answer's status: 400 and above is a failure. */
export function answered(operation: Operation, status: number, more?: Attributes): void {
  const attributes = { [ATTR_HTTP_RESPONSE_STATUS_CODE]: status };
  operation.end(
    status >= 400 ? String(status) : undefined,
    more === undefined ? attributes : { ...attributes, ...more },
  );
}

function isSame(one: ObservedAction, other: ObservedAction): boolean {
  return (
    one.name === other.name &&
    one.targets.length === other.targets.length &&
    one.targets.every(({ id }, i) => id === other.targets[i]?.id)
  );
}

function peer(socket: unknown): Attributes | undefined {
  const address = property(socket, "remoteAddress");
  const port = property(socket, "remotePort");
  if (typeof address !== "string" || typeof port !== "number") return undefined;
  return { [ATTR_NETWORK_PEER_ADDRESS]: address, [ATTR_NETWORK_PEER_PORT]: port };
}
