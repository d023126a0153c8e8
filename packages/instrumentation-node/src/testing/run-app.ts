import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

import type { Attributes } from "@otel-audit/otlp";

import {
  type OtlpSink,
  type RunningProcess,
  type SinkSpan,
  startOtlpSink,
  startProcess,
  tempDir,
} from "../../../../test/support/index.ts";

/** `--import` this to be audited. */
export const REGISTER = new URL("../../dist/register.js", import.meta.url).href;
const INDEX = new URL("../../dist/index.js", import.meta.url).href;

/** The Node that applications run on; another one than that of the tests by this variable. */
export const NODE = process.env["OTEL_AUDIT_TEST_NODE"] ?? process.execPath;
export const NODE_MAJOR = Number.parseInt(
  execFileSync(NODE, ["-p", "process.versions.node"], { encoding: "utf8" }),
  10,
);

/**
 * A package.json beside the OpenTelemetry, pg and undici that applications use; another line of them by this variable.
 */
export const PACKAGES = join(process.env["OTEL_AUDIT_TEST_PACKAGES"] ?? process.cwd(), "package.json");

/** An application in a directory of its own, to be run under `--import register`. */
export interface App {
  readonly dir: string;
  /** Where the application runs and may write. */
  readonly work: string;
  readonly spoolDir: string;
  /** In the place of a collector. */
  readonly sink: OtlpSink;
  start(options?: RunOptions): Promise<RunningProcess>;
  /** Runs it to its end. The records are all that arrived until then, of earlier runs too. */
  run(options?: RunOptions): Promise<Run>;
  [Symbol.asyncDispose](): Promise<void>;
}

export interface RunOptions {
  /** Default: the first file of the application. */
  readonly main?: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Arguments for node before the main file. Default: `--import register`. */
  readonly nodeArgs?: readonly string[];
}

export interface Run {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Spans of actions: without the records that otel-audit makes about itself. */
  readonly actions: readonly SinkSpan[];
  readonly control: readonly SinkSpan[];
}

/**
 * Makes an application of `files`. In their text `$INDEX` stands for the package's main module, `$WORK` for the directory
 * it runs in and `$DIR` for the one above, where the files are.
 */
export async function makeApp(files: Readonly<Record<string, string>>): Promise<App> {
  const dir = tempDir("app");
  const work = join(dir, "work");
  const spoolDir = join(dir, "spool");
  mkdirSync(work);
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(dir, name)), { recursive: true });
    writeFileSync(join(dir, name), text.replaceAll("$INDEX", INDEX).replaceAll("$WORK", work).replaceAll("$DIR", dir));
  }
  const sink = await startOtlpSink({ headers: { "otel-audit-collector": "test" } });
  const base: Record<string, string | undefined> = { NODE_OPTIONS: undefined };
  for (const name of Object.keys(process.env)) if (name.startsWith("OTEL_")) base[name] = undefined;
  base["OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT"] = sink.url;
  base["OTEL_AUDIT_SPOOL_DIR"] = spoolDir;

  const start = (options: RunOptions = {}): Promise<RunningProcess> => {
    const main = join(dir, options.main ?? Object.keys(files)[0] ?? "");
    const nodeArgs = options.nodeArgs ?? ["--import", REGISTER];
    return startProcess(NODE, [...nodeArgs, main], { cwd: work, env: { ...base, ...options.env } });
  };
  return {
    dir,
    work,
    spoolDir,
    sink,
    start,
    run: async (options) => {
      await using child = await start(options);
      const { code } = await child.exited;
      const actions = sink.spans.filter(isAction);
      const control = sink.spans.filter((span) => !isAction(span));
      return { code, stdout: child.stdout, stderr: child.stderr, actions, control };
    },
    [Symbol.asyncDispose]: () => sink.close(),
  };
}

/** Not a record that otel-audit makes about itself. */
export function isAction(span: SinkSpan): boolean {
  return text(span, "audit.actor.id") !== "system:otel-audit";
}

/** A text attribute of a span, empty if there is none. */
export function text(span: { readonly attributes?: Attributes | undefined }, key: string): string {
  const value = span.attributes?.[key];
  return typeof value === "string" ? value : "";
}

/** What a span says in one line: `READ success file:///x`. */
export function summary(span: SinkSpan): string {
  const error = text(span, "error.type");
  return [
    text(span, "audit.event.name"),
    text(span, "audit.action"),
    text(span, "audit.outcome"),
    ...(error === "" ? [] : [error]),
    text(span, "audit.target.id"),
  ].join(" ");
}
