import type { Driver } from "../driver.ts";
import { fsDriver } from "./fs/driver.ts";
import { httpDriver } from "./http/driver.ts";
import { httpServerDriver } from "./http-server.ts";
import { mcpDriver } from "./mcp/driver.ts";
import { netDriver } from "./net/driver.ts";
import { pgDriver } from "./pg.ts";
import { childProcessDriver } from "./process/child-process.ts";
import { edgeDriver } from "./process/edge.ts";
import { workerThreadsDriver } from "./process/worker-threads.ts";
import { undiciDriver } from "./undici/driver.ts";

/** Every driver, in the order of the start line. */
export const drivers: readonly Driver[] = [
  fsDriver,
  httpDriver,
  undiciDriver,
  pgDriver,
  mcpDriver,
  childProcessDriver,
  workerThreadsDriver,
  edgeDriver,
  httpServerDriver,
  netDriver,
];
