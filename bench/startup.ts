// What `--import register` adds to the start of a program, beside the official instrumentations: time until the program's
// first line, and resident memory then, of a program that does nothing, or uses fs, http and fetch. Medians over processes in turn.
// Run: node bench/startup.ts [rounds]

import { spawnSync } from "node:child_process";
import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

interface Start {
  /** Milliseconds from the start of the process to the first line of the program. */
  readonly ready: number;
  /** Resident memory at that line, MiB. */
  readonly memory: number;
}

const ROUNDS = Math.max(1, Number(process.argv[2] ?? 15));
const root = fileURLToPath(new URL("..", import.meta.url));
const directory = fs.mkdtempSync(join(tmpdir(), "otel-audit-startup-"));
const file = (name: string, text: string): string => {
  fs.writeFileSync(join(directory, name), text);
  return join(directory, name);
};

const REPORT = `const ready = performance.now(); const memory = process.memoryUsage.rss();
process.on("exit", () => console.log(JSON.stringify({ ready, memory: memory / 1048576 })));`;
const programs = {
  empty: file("empty.mjs", REPORT),
  "fs, http, fetch": file("uses.mjs", `import "node:fs"; import "node:http"; import "node:https"; fetch;\n${REPORT}`),
};
const POLICY = `policy: p
mode: observe
default: allow
resources: { kb: { file: "/srv/kb/**" } }
rules: [{ id: kb, allow: { resource: kb } }]
`;
// In the workspace, so that the packages are found.
const official = join(root, "node_modules", ".otel-audit-bench-official.cjs");
fs.writeFileSync(
  official,
  `const { BatchSpanProcessor, TracerProvider } = require("@opentelemetry/sdk-trace");
const { OTLPTraceExporter } = require("@opentelemetry/exporter-trace-otlp-proto");
const { registerInstrumentations } = require("@opentelemetry/instrumentation");
const { AsyncLocalStorageContextManager } = require("@opentelemetry/context-async-hooks");
const api = require("@opentelemetry/api");
const provider = new TracerProvider({ spanProcessors: [new BatchSpanProcessor({ exporter: new OTLPTraceExporter() })] });
api.context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
api.trace.setGlobalTracerProvider(provider);
registerInstrumentations({ tracerProvider: provider, instrumentations: [
  new (require("@opentelemetry/instrumentation-fs").FsInstrumentation)(),
  new (require("@opentelemetry/instrumentation-http").HttpInstrumentation)(),
  new (require("@opentelemetry/instrumentation-undici").UndiciInstrumentation)(),
  new (require("@opentelemetry/instrumentation-pg").PgInstrumentation)(),
] });
`,
);

// By path, so that another working copy can be measured: OTEL_AUDIT_BENCH_ROOT.
const register = join(process.env["OTEL_AUDIT_BENCH_ROOT"] ?? root, "packages/instrumentation-node/dist/register.js");
const ours = ["--import", register];
const variants: Readonly<Record<string, { args: readonly string[]; env: NodeJS.ProcessEnv }>> = {
  bare: { args: [], env: {} },
  ours: { args: ours, env: {} },
  "ours with a policy": { args: ours, env: { OTEL_AUDIT_POLICY: file("policy.yaml", POLICY) } },
  "official http, undici, pg, fs": { args: ["--require", official], env: {} },
};

function start(program: string, { args, env }: { args: readonly string[]; env: NodeJS.ProcessEnv }): Start {
  const { stdout, stderr } = spawnSync(process.execPath, [...args, program], {
    encoding: "utf8",
    cwd: directory,
    // Nobody listens: the end of the process, which is not measured, is short.
    env: {
      PATH: process.env["PATH"],
      OTEL_AUDIT_SPOOL_DIR: join(directory, "spool"),
      OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:9",
      ...env,
    },
  });
  const line = stdout.trim();
  if (line === "") throw new Error(`${program}: ${stderr}`);
  const measured: Start = JSON.parse(line);
  return measured;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

try {
  console.log(`median of ${ROUNDS} starts: ms until the first line of the program, MiB then (added to bare)`);
  for (const [name, program] of Object.entries(programs)) {
    const starts = new Map<string, Start[]>(Object.keys(variants).map((variant) => [variant, []]));
    for (let round = 0; round < ROUNDS; round++) {
      for (const [variant, how] of Object.entries(variants)) starts.get(variant)?.push(start(program, how));
    }
    const of = (variant: string, field: keyof Start): number =>
      median((starts.get(variant) ?? []).map((each) => each[field]));
    for (const variant of starts.keys()) {
      const [ready, memory] = [of(variant, "ready"), of(variant, "memory")];
      const added = `+${(ready - of("bare", "ready")).toFixed(0)} ms, +${(memory - of("bare", "memory")).toFixed(1)} MiB`;
      console.log(
        `${name.padEnd(16)} ${variant.padEnd(30)} ${ready.toFixed(0).padStart(4)} ms ${memory.toFixed(1).padStart(6)} MiB  ${variant === "bare" ? "" : added}`,
      );
    }
  }
} finally {
  fs.rmSync(official, { force: true });
  fs.rmSync(directory, { recursive: true, force: true });
}
