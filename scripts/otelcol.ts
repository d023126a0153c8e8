// `npm run otelcol`: prints the path of the official OpenTelemetry Collector, and builds it from Go modules when it is not
// there yet (about three minutes on two cores, once). OTELCOL names another one; an `otelcol-contrib` on PATH is taken, too.
import { spawnSync } from "node:child_process";
import { copyFileSync, readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { cachedPath, findGo, inTemporaryFolder, run, type Missing } from "./prepared.ts";

/** An official collector that can be started. */
interface Otelcol {
  readonly path: string;
  /** As it says itself: `otelcol version 0.149.0`. */
  readonly version: string;
}

const manifest = fileURLToPath(new URL("otelcol/manifest.yaml", import.meta.url));
const builder = "go.opentelemetry.io/collector/cmd/builder";

/** The collector that is there already: it is never built here. */
export function findOtelcol(): Otelcol | Missing {
  const named = process.env["OTELCOL"];
  if (named !== undefined && named !== "") {
    const found = asOtelcol(named);
    if (found === undefined) throw new Error(`OTELCOL=${named} is not a collector that starts`);
    return found;
  }
  for (const path of ["otelcol-contrib", built()]) {
    const found = asOtelcol(path);
    if (found) return found;
  }
  return { reason: "no official collector is here: `npm run otelcol` builds one where Go is, OTELCOL=PATH names one" };
}

/** Like {@link findOtelcol}, and builds it when it can. */
export function otelcol(): Otelcol | Missing {
  const found = findOtelcol();
  if (found.path !== undefined) return found;
  const go = findGo();
  if (go === undefined) return { reason: "no official collector is here and no Go toolchain that would build it" };
  process.stderr.write("otelcol: building the official collector from Go modules (some minutes, once)\n");
  inTemporaryFolder((folder) => {
    run(go, ["run", `${builder}@v${builderVersion()}`, "--config", manifest], folder);
    // Appears whole or not at all, also from another file system.
    const beside = `${built()}.${process.pid}`;
    copyFileSync(join(folder, "build/otelcol"), beside);
    renameSync(beside, built());
  });
  return findOtelcol();
}

const built = (): string => cachedPath("otelcol", [manifest]);

function asOtelcol(path: string): Otelcol | undefined {
  const { status, stdout } = spawnSync(path, ["--version"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  return status === 0 ? { path, version: stdout.trim() } : undefined;
}

/** The builder and what it builds are of one version. */
function builderVersion(): string {
  const version = /^ {2}version: (\S+)$/m.exec(readFileSync(manifest, "utf8"))?.[1];
  if (version === undefined) throw new Error(`${manifest} names no version`);
  return version;
}

if (import.meta.main) {
  const found = otelcol();
  if (found.path === undefined) process.stderr.write(`otelcol: ${found.reason}\n`);
  else process.stdout.write(`${found.path}\n`);
  process.exitCode = found.path === undefined ? 1 : 0;
}
