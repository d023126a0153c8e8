// A worker thread: the pipelines of a service, between its own listeners and its own stream of the ledger.
import { parentPort, workerData } from "node:worker_threads";
import { pino, type Logger } from "pino";
import type { ReceiverEndpoints } from "../component.ts";
import { CollectorError, errorMessage } from "../errors.ts";
import { MemoryPool } from "../memory.ts";
import { buildGraph, countServers, type Graph } from "./graph.ts";
import { maxConnections } from "./file-limit.ts";
import { HealthState } from "./health-state.ts";
import { makeLog } from "./log.ts";
import type { FromWorker, ToWorker, WorkerData } from "./messages.ts";
import { SharedMemory } from "./shared-memory.ts";
import { Telemetry } from "./telemetry.ts";

const port = parentPort!;
// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the other end of worker-thread.ts
const data = workerData as WorkerData;
const told = new Map(data.told);
const telemetry = new Telemetry(data.serviceInstanceId);
const sharedMemory = new SharedMemory(data.index === 0 ? undefined : data.shared);

function send(message: FromWorker): void {
  port.postMessage(message);
}

function workerLog(): Logger {
  const options = data.count > 1 ? { mixin: () => ({ worker: data.index }) } : {};
  if (!data.forwardLog) return makeLog(data.config.service.telemetry.logs, options);
  return pino({ ...options, level: data.logLevel }, { write: (line: string) => send({ kind: "log", line }) });
}

function build(): Graph {
  const own = new HealthState().of("");
  return buildGraph(data.config, {
    log: workerLog(),
    telemetry,
    dataDir: data.dataDir,
    portOffset: data.portOffset,
    memory: new MemoryPool(),
    worker: { index: data.index, count: data.count },
    maxConnections: maxConnections(countServers(data.config) * data.count),
    sharedMemory,
    told,
    health: {
      set: (component, problem) => {
        own.set(component, problem);
        send({ kind: "health", component, problem });
      },
      problems: () => own.problems(),
    },
  });
}

async function handle(graph: Graph, message: ToWorker): Promise<void> {
  switch (message.kind) {
    case "told":
      told.set(message.key, message.value);
      return;
    case "metrics":
      send({ kind: "metrics", id: message.id, snapshot: await telemetry.snapshot() });
      return;
    case "drain": {
      const { id, timeoutMs } = message;
      const drained = await Promise.all(
        graph.exporters.map(async (exporter) => (await exporter.drain?.(timeoutMs)) ?? true),
      );
      send({ kind: "drained", id, drained: drained.every(Boolean) });
      return;
    }
    case "stop":
      await stop(graph);
  }
}

async function stop(graph: Graph): Promise<void> {
  let error: string | undefined;
  try {
    await graph.shutdown();
  } catch (cause) {
    error = errorMessage(cause);
  }
  send({ kind: "stopped", error });
}

async function start(): Promise<void> {
  let graph: Graph | undefined;
  try {
    graph = build();
    const running = graph;
    // An error in here is an uncaught one, which ends the process.
    port.on("message", (message: ToWorker) => void handle(running, message));
    await graph.start();
    const { receivers, shutdownMs } = graph;
    // Of several receivers the first one is told.
    const endpoints: ReceiverEndpoints = Object.assign({}, ...receivers.toReversed().map((one) => one.endpoints));
    send({ kind: "ready", endpoints, shared: sharedMemory.buffers, shutdownMs });
  } catch (error) {
    await graph?.shutdown().catch(() => {});
    const { code, message } = CollectorError.from(error);
    send({ kind: "failed", code, message });
  }
}

await start();
