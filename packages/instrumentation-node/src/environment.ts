import { getEnvironmentData, isMainThread, setEnvironmentData } from "node:worker_threads";

import type { Environment } from "./identity-environment.ts";
import { isObject } from "./unknown.ts";

/** Under this name a thread finds what the thread that started it says about the audit. */
const KEY = "otel-audit.environment.1";

/**
 * The environment that configures the audit of this thread. In a thread it is what the thread that started it says: the
 * application can give a thread any `process.env`, and may share one among them.
 */
export function auditEnvironment(): Environment {
  const given = isMainThread ? undefined : getEnvironmentData(KEY);
  return isObject(given) ? { ...process.env, ...texts(given) } : process.env;
}

function texts(given: Readonly<Record<PropertyKey, unknown>>): Environment {
  return Object.fromEntries(
    Object.entries(given).map(([name, value]) => [name, typeof value === "string" ? value : undefined]),
  );
}

/** Runs `start`, which starts a thread whose audit is configured by `environment`. */
export function startingThread<T>(environment: Environment, start: () => T): T {
  const before = getEnvironmentData(KEY);
  setEnvironmentData(KEY, { ...environment });
  try {
    return start();
  } finally {
    setEnvironmentData(KEY, before);
  }
}
