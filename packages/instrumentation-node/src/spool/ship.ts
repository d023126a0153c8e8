import { existsSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { InstrumentationError } from "../errors.ts";
import { asOurselves } from "../identity.ts";
import { ownWork } from "../own-work.ts";
import { SCOPE_NAME, VERSION } from "../version.ts";
import { EXTENSION, readIfThere } from "./leftover.ts";
import { thisOwner } from "./owner.ts";
import { Shipper } from "./shipper.ts";
import { Spool } from "./spool.ts";
import { clearTimeout, monotonicMs, setTimeout } from "../pristine.ts";

/** How `shipSpool` sends. */
export interface ShipSpoolOptions {
  /** Base URL of the collector, to which `/v1/traces` is added. */
  readonly endpoint: string | URL;
  /** Sent with every request. Default none. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Send even to an endpoint that does not answer as an otel-audit collector. Default false. */
  readonly trust?: boolean | undefined;
  /** At most this long, in milliseconds, attempts again included. Default 10,000, at least 1. */
  readonly timeoutMs?: number | undefined;
  /** Hears why records are left, in words for people. */
  readonly onTrouble?: ((message: string) => void) | undefined;
}

/** What became of a spool directory. */
export interface ShippedSpool {
  /** Records that the collector acknowledged. */
  readonly shipped: number;
  /** Records that the collector refused for good; their files are kept in the directory itself. */
  readonly refused: number;
  /** Records that still wait, those of processes that live included. What the collector refused for good is no longer among them. */
  readonly left: number;
}

/**
 * Sends what processes that are dead left in a spool directory, each as the resource it was. No audit is started here
 * and nothing of this process is recorded. What cannot be sent stays for the next who tries.
 *
 * @param directory one as in OTEL_AUDIT_SPOOL_DIR; one that does not exist holds nothing
 * @throws InstrumentationError INVALID_CONFIG for options, SPOOL if the directory cannot be used
 */
export async function shipSpool(directory: string, options: ShipSpoolOptions): Promise<ShippedSpool> {
  const dir = resolve(directory);
  const { headers = {}, trust = false, timeoutMs = 10_000, onTrouble = () => {} } = options;
  const endpoint = endpointUrl(options.endpoint);
  if (!(timeoutMs >= 1)) {
    throw new InstrumentationError("INVALID_CONFIG", `shipSpool: timeoutMs must be at least 1, got ${timeoutMs}`);
  }
  if (!ownWork(() => existsSync(dir))) return { shipped: 0, refused: 0, left: 0 };
  const owner = thisOwner({}, { name: SCOPE_NAME, version: VERSION });
  const spool = ownWork(() => new Spool(dir, owner, 0));
  const shipper = new Shipper(spool, { endpoint, headers, trust }, onTrouble);
  try {
    await asOurselves(() => shipUntil(spool, shipper, monotonicMs() + timeoutMs));
  } finally {
    shipper.stop();
    ownWork(() => {
      spool.release();
      spool.close();
    });
  }
  return { shipped: shipper.sent, refused: shipper.refused, left: ownWork(() => countRecords(dir)) };
}

/** Attempts until nothing of the dead is left or the time is up. */
async function shipUntil(spool: Spool, shipper: Shipper, deadline: number): Promise<void> {
  for (;;) {
    ownWork(() => spool.claimLeftovers());
    if (spool.isEmpty) return;
    const done = await within(deadline, shipper.flush());
    const rest = deadline - monotonicMs();
    if (done === true || rest <= 0) return;
    await sleep(Math.min(rest, shipper.retryMs));
  }
}

/** Undefined when the time is up first. Its timer keeps the process alive, which the sockets of the spool do not. */
async function within<T>(deadline: number, work: Promise<T>): Promise<T | undefined> {
  let patience: NodeJS.Timeout | undefined;
  const timeout = new Promise<undefined>((resolve) => {
    patience = setTimeout(() => resolve(undefined), Math.max(0, deadline - monotonicMs()));
  });
  try {
    return await Promise.race([work, timeout]);
  } finally {
    clearTimeout(patience);
  }
}

/** What still waits in a spool directory: records, and what began without an end. */
function countRecords(dir: string): number {
  const waiting = new Set<string>();
  for (const entry of readdirSync(dir, { withFileTypes: true, recursive: true })) {
    // Files that lie in the directory itself were refused.
    if (entry.parentPath === dir || !entry.name.endsWith(EXTENSION)) continue;
    const contents = readIfThere(join(entry.parentPath, entry.name));
    if (contents === undefined) continue;
    for (let i = 0; i < contents.count; i++) {
      if (contents.isIntent(i) || contents.span(i) !== undefined) {
        waiting.add(`${entry.parentPath} ${contents.sequence(i)}`);
      }
    }
  }
  return waiting.size;
}

function endpointUrl(endpoint: string | URL): URL {
  const url = URL.canParse(String(endpoint)) ? new URL(endpoint) : undefined;
  if (url?.protocol !== "http:" && url?.protocol !== "https:") {
    throw new InstrumentationError(
      "INVALID_CONFIG",
      `shipSpool: endpoint must be an http(s) URL, got "${String(endpoint)}"`,
    );
  }
  return url;
}
