import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { startProcess, type RunningProcess } from "./process.ts";

/**
 * Starts the official collector and waits until it listens. It cannot be asked for a free port and the port that it got, so
 * the configuration has to take the port from the environment.
 *
 * @param options.command from `scripts/otelcol.ts`
 * @param options.configs files, merged; the later one wins
 * @param options.port where a receiver of it listens, on 127.0.0.1
 */
export async function startOtelcol(options: {
  readonly command: string;
  readonly configs: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly port: number;
}): Promise<RunningProcess> {
  const { command, configs, env, port } = options;
  const otelcol = await startProcess(
    command,
    configs.map((file) => `--config=${file}`),
    { env },
  );
  for (let tries = 0; tries < 600; tries++) {
    if (await answers(port)) return otelcol;
    if (await Promise.race([otelcol.exited, sleep(100)])) break;
  }
  await otelcol[Symbol.asyncDispose]();
  throw new Error(`otelcol did not start:\n${otelcol.stderr}`);
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.end();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
