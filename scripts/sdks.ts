// `npm run test:sdks` prepares clients of the official SDKs of other languages, once: a Python with the packages of
// examples/python, and the program of test/sdks/go.
import { renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { cachedPath, findGo, run, starts, type Missing } from "./prepared.ts";

/** A program that can be started. */
export interface Client {
  readonly path: string;
}

const file = (path: string): string => fileURLToPath(new URL(`../${path}`, import.meta.url));
const requirements = file("examples/python/requirements.txt");
const goFolder = file("test/sdks/go");

const python = (): string => join(cachedPath("python", [requirements]), "bin/python");
const goClient = (): string =>
  cachedPath(
    "go-client",
    ["main.go", "go.mod", "go.sum"].map((name) => join(goFolder, name)),
  );

/** A Python interpreter with the official SDK. */
export function findPython(): Client | Missing {
  return starts(python(), "-c", "import opentelemetry.sdk")
    ? { path: python() }
    : { reason: "no Python with the OpenTelemetry SDK is prepared: `npm run test:sdks` does that where Python 3 is" };
}

/** A program with the official Go SDK. */
export function findGoClient(): Client | Missing {
  return starts(goClient(), "version")
    ? { path: goClient() }
    : { reason: "no client with the Go SDK is built: `npm run test:sdks` does that where Go is" };
}

function preparePython(): void {
  const system = ["python3", "python"].find((name) =>
    starts(name, "-c", "import sys, venv; assert sys.version_info >= (3, 10)"),
  );
  if (system === undefined) {
    process.stderr.write("sdks: no Python 3.10 or newer with venv here: its SDK is NOT tested\n");
    return;
  }
  const folder = cachedPath("python", [requirements]);
  try {
    run(system, ["-m", "venv", folder], ".");
    run(python(), ["-m", "pip", "install", "--quiet", "--requirement", requirements], ".");
  } catch (error) {
    // Half of it would pass for the whole.
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}

function prepareGo(): void {
  const go = findGo();
  if (go === undefined) {
    process.stderr.write("sdks: no Go toolchain here: its SDK is NOT tested\n");
    return;
  }
  const beside = `${goClient()}.${process.pid}`;
  run(go, ["build", "-o", beside, "."], goFolder);
  renameSync(beside, goClient());
}

if (import.meta.main) {
  if (findPython().path === undefined) preparePython();
  if (findGoClient().path === undefined) prepareGo();
}
