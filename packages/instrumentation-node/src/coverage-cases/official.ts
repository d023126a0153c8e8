import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

import { PACKAGES } from "../testing/run-app.ts";

/**
 * A module for `--import`: a tracer provider and the official instrumentations, with the loader hook that they need for ES
 * modules, as OpenTelemetry's documentation sets them up. Spans are made and ended, and go nowhere.
 */
export function officialSetup(): string {
  const from = pathToFileURL(createRequire(PACKAGES).resolve("@opentelemetry/instrumentation")).href;
  return `
import { createRequire, register } from "node:module";
const require = createRequire(${JSON.stringify(PACKAGES)});
register("@opentelemetry/instrumentation/hook.mjs", ${JSON.stringify(from)});
const { TracerProvider } = require("@opentelemetry/sdk-trace");
const { AsyncLocalStorageContextManager } = require("@opentelemetry/context-async-hooks");
const { registerInstrumentations } = require("@opentelemetry/instrumentation");
const { context, trace } = require("@opentelemetry/api");
const tracerProvider = new TracerProvider({ spanProcessors: [] });
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
trace.setGlobalTracerProvider(tracerProvider);
const instrumentations = ["Fs", "Http", "Undici", "Pg"].map((name) =>
  new (require("@opentelemetry/instrumentation-" + name.toLowerCase())[name + "Instrumentation"])());
registerInstrumentations({ instrumentations, tracerProvider });
// They patch a builtin when it is required.
for (const name of ["http", "https", "fs", "fs/promises"]) require(name);`;
}
