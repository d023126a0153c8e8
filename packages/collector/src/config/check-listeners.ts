import { isIP, isIPv4 } from "node:net";
import type { Listening } from "../component.ts";
import { factories } from "../components.ts";
import { configError } from "../errors.ts";
import { formatAddress, type Address, type UnixAddress } from "./address.ts";
import { componentType, type CollectorConfig } from "./schema.ts";

/** No two components that run listen on the same address. @throws CollectorError */
export function checkListeners(config: CollectorConfig): void {
  const before: Listening[] = [];
  for (const one of listeners(config)) {
    const other = before.find(({ address }) => collide(address, one.address));
    if (other) {
      throw configError(
        one.setting,
        `cannot be ${formatAddress(one.address)}: ${other.setting.join("::")} listens on ${formatAddress(other.address)}`,
      );
    }
    before.push(one);
  }
}

function listeners({ receivers, extensions, service }: CollectorConfig): readonly Listening[] {
  const { address } = service.telemetry.metrics;
  const listed = new Set(Object.values(service.pipelines).flatMap((pipeline) => pipeline.receivers));
  const used = [...receivers.keys()].filter((id) => listed.has(id));
  return [
    ...used.flatMap((id) =>
      below("receivers", id, factories("receiver").get(componentType(id))!.listens(receivers.get(id))),
    ),
    ...service.extensions.flatMap((id) =>
      below("extensions", id, factories("extension").get(componentType(id))!.listens?.(extensions.get(id))),
    ),
    ...(address ? [{ setting: ["service", "telemetry", "metrics", "address"], address }] : []),
  ];
}

function below(section: string, id: string, listening: readonly Listening[] = []): readonly Listening[] {
  return listening.map((one) => ({ ...one, setting: [section, id, ...one.setting] }));
}

/** Names are not looked up: only two that are the same are the same place. */
function collide(a: Address | UnixAddress, b: Address | UnixAddress): boolean {
  if ("path" in a || "path" in b) return formatAddress(a) === formatAddress(b);
  // Port 0 is a free one.
  return a.port === b.port && a.port !== 0 && (a.host === b.host || covers(a.host, b.host) || covers(b.host, a.host));
}

/** `0.0.0.0` is every address of IPv4, `::` every one there is. */
function covers(any: string, host: string): boolean {
  return (any === "0.0.0.0" && isIPv4(host)) || (any === "::" && isIP(host) !== 0);
}
