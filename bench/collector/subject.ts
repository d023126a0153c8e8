// What is measured: a collector in a process of its own.
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { otelcol } from "../../scripts/otelcol.ts";
import {
  freePort,
  startCollector,
  startOtelcol,
  startProcess,
  tempDir,
  type RunningProcess,
} from "../../test/support/index.ts";
import type { Protocol } from "./client.ts";

export interface Subject {
  readonly name: string;
  readonly pid: number;
  /** Where its audit spans end up. */
  readonly table: "audit_events" | "otel_traces";
  /** Base URL, undefined for a protocol that it does not speak. */
  url(protocol: Protocol): string | undefined;
  stop(): Promise<void>;
}

/** Addresses and passwords for `${env:…}` in the configurations. */
export type Environment = Readonly<Record<string, string>>;

/** To end in good order; what waits for ClickHouse may need longer, and nobody asks for it. */
const STOP_MS = 10_000;

const file = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

export async function startOurs(env: Environment): Promise<Subject> {
  const collector = await startCollector({ dataDir: tempDir("bench-ours"), config: file("ours.yaml"), env });
  const { otlpHttp, otlpGrpc } = collector.endpoints;
  return subject("otel-audit", collector.process, "audit_events", (protocol) =>
    protocol === "http" ? otlpHttp : otlpGrpc,
  );
}

export interface Peer {
  /** What it is, for the head of an output. */
  readonly description: string;
  start(env: Environment): Promise<Subject>;
}

/** The official collector where it is or can be built; otherwise the naive path, which says so. */
export function findPeer(): Peer {
  const found = otelcol();
  if (found.path === undefined) {
    return {
      description: `a naive collector (objects, JSONEachRow) STANDS IN: ${found.reason}`,
      start: startObjects,
    };
  }
  const { path, version } = found;
  return {
    description: `the official collector (${version}, configuration bench/collector/otelcol.yaml)`,
    start: (env) => startOfficial(path, env),
  };
}

async function startOfficial(command: string, env: Environment): Promise<Subject> {
  const ports = { http: await freePort(), grpc: await freePort() };
  const server = await startOtelcol({
    command,
    configs: [file("otelcol.yaml")],
    env: {
      ...env,
      DATA: tempDir("bench-otelcol"),
      HTTP_PORT: String(ports.http),
      GRPC_PORT: String(ports.grpc),
    },
    port: ports.http,
  });
  return subject("otelcol", server, "otel_traces", (protocol) => `http://127.0.0.1:${ports[protocol]}`);
}

async function startObjects(env: Environment): Promise<Subject> {
  const server = await startProcess(process.execPath, [file("objects.ts"), tempDir("bench-objects")], { env });
  const url = await server.waitForLine(/^http:/);
  return subject("objects and JSON", server, "audit_events", (protocol) => (protocol === "http" ? url : undefined));
}

function subject(name: string, server: RunningProcess, table: Subject["table"], url: Subject["url"]): Subject {
  const stop = async (): Promise<void> => {
    await Promise.race([server.kill(), sleep(STOP_MS, undefined, { ref: false })]);
    await server[Symbol.asyncDispose]();
  };
  return { name, pid: server.pid, table, url, stop };
}
