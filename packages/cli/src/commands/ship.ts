import type { ShipSpoolOptions } from "@otel-audit/instrumentation-node";
import { Command } from "commander";
import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import { refuseUnderAudit } from "../audited.ts";
import { CliError, ExitCode } from "../errors.ts";
import { print, tell } from "../output/stdout.ts";
import { printable, safeJson } from "../output/text.ts";
import { integer } from "./options.ts";

interface ShipOptions {
  readonly endpoint?: string;
  readonly timeout: number;
  readonly json?: true;
}

/** Seconds until a person hears how far it is; also how long one attempt to send may take. */
const PROGRESS_S = 5;
const MAX_TIMEOUT_S = 86_400;

const HELP = `
The directory is one as in OTEL_AUDIT_SPOOL_DIR. What processes left there that were killed, or whose machine was
restarted, goes out, each record as the resource it was; an action that had begun and whose end nobody saw has the
outcome unknown. Records of processes that live are theirs to send. What was sent is removed, what was not stays.

Records go only to an endpoint that answers as an otel-audit collector. OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT (or
OTEL_EXPORTER_OTLP_ENDPOINT), _HEADERS and OTEL_AUDIT_EXPORTER_TRUST count as they do in an audited process.

Exit code: 0 all of it is sent; 1 something is left, and why; 2 wrong use or configuration.

Examples:
  otel-audit ship /var/spool/otel-audit
  otel-audit ship ./spool --endpoint http://127.0.0.1:4318 --timeout 300`;

export function shipCommand(): Command {
  return new Command("ship")
    .description("Send the records that dead processes left in a spool directory")
    .argument("<dir>", "spool directory")
    .option(
      "--endpoint <url>",
      "collector, without /v1/traces; default: as the environment says, or http://127.0.0.1:4318",
    )
    .option("--timeout <s>", "seconds until it gives up", integer(1, MAX_TIMEOUT_S), 60)
    .option("--json", "for machines")
    .addHelpText("after", HELP)
    .action(async (dir: string, options: ShipOptions) => {
      process.exitCode = await ship(dir, options);
    });
}

async function ship(dir: string, options: ShipOptions): Promise<number> {
  refuseUnderAudit("ship");
  await checkDirectory(dir);
  const where = await destination(options.endpoint);
  const result = await shipAll(resolve(dir), where, options.timeout);
  const { shipped, refused, left, why } = result;
  const endpoint = where.endpoint.origin;
  const isFine = left === 0 && refused === 0;
  if (options.json) {
    await print(`${safeJson({ ok: isFine, dir, endpoint, shipped, refused, left, why: why ?? null }, 2)}\n`);
  } else {
    const parts = [
      `${count(shipped)} sent to ${endpoint}`,
      ...(refused === 0 ? [] : [`${refused} refused for good`]),
      ...(left === 0 ? [] : [`${left} left in ${printable(dir)}: ${printable(why ?? "")}`]),
    ];
    await print(`${parts.join(", ")}\n`);
  }
  return isFine ? ExitCode.Ok : ExitCode.No;
}

/** A directory that is not there is more often a typing error than an empty spool. */
async function checkDirectory(dir: string): Promise<void> {
  const found = await stat(dir).catch(() => undefined);
  if (found === undefined) throw new CliError("USAGE", `<dir>: there is no directory "${dir}"`);
  if (!found.isDirectory()) throw new CliError("USAGE", `<dir>: "${dir}" is not a directory`);
}

type Destination = Pick<ShipSpoolOptions, "headers" | "trust"> & { readonly endpoint: URL };

/** Where a process in this environment would send its records. */
async function destination(endpoint: string | undefined): Promise<Destination> {
  const { configFromEnvironment, InstrumentationError } = await import("@otel-audit/instrumentation-node");
  try {
    return configFromEnvironment({
      ...process.env,
      ...(endpoint !== undefined && { OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT: endpoint }),
    });
  } catch (cause) {
    if (!(cause instanceof InstrumentationError)) throw cause;
    const text =
      endpoint === undefined ? cause.message : cause.message.replace("OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT", "--endpoint");
    throw new CliError("USAGE", text, { cause });
  }
}

interface Shipped {
  readonly shipped: number;
  readonly refused: number;
  readonly left: number;
  /** Why something is left. */
  readonly why: string | undefined;
}

/** Sends in parts of some seconds each, so that a person sees it go on. */
async function shipAll(dir: string, where: Destination, timeoutS: number): Promise<Shipped> {
  const { shipSpool } = await import("@otel-audit/instrumentation-node");
  const deadline = performance.now() + timeoutS * 1000;
  let told = "";
  for (let shipped = 0, refused = 0; ;) {
    let trouble: string | undefined;
    const onTrouble = (message: string): void => {
      trouble = message;
      if (message !== told) tell(`otel-audit: ${printable(message)}`);
      told = message;
    };
    const until = Math.min(deadline, performance.now() + PROGRESS_S * 1000);
    const part = await shipSpool(dir, { ...where, timeoutMs: Math.max(1, until - performance.now()), onTrouble });
    shipped += part.shipped;
    refused += part.refused;
    // It ends before its time when nothing is left that may be sent.
    if (part.left === 0 || performance.now() < until || until === deadline) {
      const why = part.left === 0 ? undefined : (trouble ?? "that is of processes that live, which send it themselves");
      return { shipped, refused, left: part.left, why };
    }
    tell(`otel-audit: ${count(shipped)} sent, ${part.left} to go`);
  }
}

function count(records: number): string {
  return `${records} ${records === 1 ? "record" : "records"}`;
}
