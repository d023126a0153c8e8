// What is measured: a collector in a process of its own.
import { request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { otelcol } from "../../scripts/otelcol.ts";
import { freePort, startCollector, startProcess, tempDir } from "../../test/support/index.ts";
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

const file = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

export async function startOurs(env: Environment): Promise<Subject> {
  const collector = await startCollector({ dataDir: tempDir("bench-ours"), config: file("ours.yaml"), env });
  const { otlpHttp } = collector.endpoints;
  return {
    name: "otel-audit",
    pid: collector.process.pid,
    table: "audit_events",
    url: (protocol) => (protocol === "http" ? otlpHttp : undefined),
    stop: async () => {
      await collector.process.kill();
      await collector[Symbol.asyncDispose]();
    },
  };
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
    start: (env) => startOtelcol(path, env),
  };
}

async function startOtelcol(path: string, env: Environment): Promise<Subject> {
  const ports = { http: await freePort(), grpc: await freePort() };
  const server = await startProcess(path, ["--config", file("otelcol.yaml")], {
    env: { ...env, DATA: tempDir("bench-otelcol"), HTTP_PORT: String(ports.http), GRPC_PORT: String(ports.grpc) },
  });
  const url = `http://127.0.0.1:${ports.http}`;
  for (let tries = 0; !(await answers(url)); tries++) {
    if ((await Promise.race([server.exited, sleep(100)])) || tries > 100) {
      await server[Symbol.asyncDispose]();
      throw new Error(`the official collector did not start:\n${server.stderr}`);
    }
  }
  return {
    name: "otelcol",
    pid: server.pid,
    table: "otel_traces",
    url: (protocol) => `http://127.0.0.1:${ports[protocol]}`,
    stop: async () => {
      await server.kill();
      await server[Symbol.asyncDispose]();
    },
  };
}

async function startObjects(env: Environment): Promise<Subject> {
  const server = await startProcess(process.execPath, [file("objects.ts"), tempDir("bench-objects")], { env });
  const line = await server.waitForLine(/^http:/);
  return {
    name: "objects and JSON",
    pid: server.pid,
    table: "audit_events",
    url: (protocol) => (protocol === "http" ? line : undefined),
    stop: async () => {
      await server.kill();
      await server[Symbol.asyncDispose]();
    },
  };
}

function answers(url: string): Promise<boolean> {
  return new Promise((resolve) => {
    request(url, (response) => {
      response.resume();
      resolve(true);
    })
      .once("error", () => resolve(false))
      .end();
  });
}
