// `npm run otelcol`: prints the path of the official OpenTelemetry Collector, and builds it from Go modules when it is not
// there yet (about three minutes on two cores, once). OTELCOL names another one; an `otelcol-contrib` on PATH is taken, too.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** An official collector that can be started. */
export interface Otelcol {
  readonly path: string;
  /** As it says itself: `otelcol version 0.149.0`. */
  readonly version: string;
}

/** What stands in the way, for the output of a run that goes without. */
export interface Missing {
  readonly path?: undefined;
  readonly reason: string;
}

const manifest = fileURLToPath(new URL("otelcol/manifest.yaml", import.meta.url));
const cache = fileURLToPath(new URL("../node_modules/.cache/otel-audit/", import.meta.url));
const builder = "go.opentelemetry.io/collector/cmd/builder";
/** Where Go's own installer puts it, for a PATH that does not have it. */
const GO_DEFAULT = "/usr/local/go/bin/go";

/** The collector that is there already: it is never built here. */
export function findOtelcol(): Otelcol | Missing {
  const named = process.env["OTELCOL"];
  if (named !== undefined && named !== "") {
    const found = asOtelcol(named);
    if (found === undefined) throw new Error(`OTELCOL=${named} is not a collector that starts`);
    return found;
  }
  for (const path of ["otelcol-contrib", cachedPath()]) {
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
  build(go);
  return findOtelcol();
}

/** The command of the Go toolchain; undefined without one. */
export function findGo(): string | undefined {
  return ["go", GO_DEFAULT].find((go) => spawnSync(go, ["version"], { stdio: "ignore" }).status === 0);
}

function asOtelcol(path: string): Otelcol | undefined {
  const { status, stdout } = spawnSync(path, ["--version"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  return status === 0 ? { path, version: stdout.trim() } : undefined;
}

function cachedPath(): string {
  const hash = createHash("sha256").update(readFileSync(manifest)).update(`${process.platform} ${process.arch}`);
  return join(cache, `otelcol-${hash.digest("hex").slice(0, 12)}`);
}

/** The builder and what it builds are of one version. */
function builderVersion(): string {
  const version = /^ {2}version: (\S+)$/m.exec(readFileSync(manifest, "utf8"))?.[1];
  if (version === undefined) throw new Error(`${manifest} names no version`);
  return version;
}

function build(go: string): void {
  const folder = mkdtempSync(join(tmpdir(), "otel-audit-otelcol-"));
  process.stderr.write("otelcol: building the official collector from Go modules (some minutes, once)\n");
  try {
    const { status, stderr } = spawnSync(go, ["run", `${builder}@v${builderVersion()}`, "--config", manifest], {
      cwd: folder,
      encoding: "utf8",
      stdio: ["ignore", "ignore", "pipe"],
      maxBuffer: 1 << 26,
    });
    const built = join(folder, "build/otelcol");
    if (status !== 0 || !existsSync(built)) throw new Error(`otelcol: the build failed:\n${stderr.slice(-4_000)}`);
    mkdirSync(cache, { recursive: true });
    // Appears whole or not at all, also from another file system.
    const beside = `${cachedPath()}.${process.pid}`;
    copyFileSync(built, beside);
    renameSync(beside, cachedPath());
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

if (import.meta.main) {
  const found = otelcol();
  if (found.path === undefined) process.stderr.write(`otelcol: ${found.reason}\n`);
  else process.stdout.write(`${found.path}\n`);
  process.exitCode = found.path === undefined ? 1 : 0;
}
