import { onPackage } from "./module-hook.ts";

/** Parts of Node that can act on the outside. What no driver covers of them is named at the start. */
const BUILTINS = [
  "child_process",
  "dgram",
  "dns",
  "fs",
  "http",
  "http2",
  "https",
  "net",
  "sqlite",
  "tls",
  "worker_threads",
];

/** Packages that act by sockets or bindings of their own; named once they are loaded. */
const PACKAGES = [
  "@grpc/grpc-js",
  "@clickhouse/client",
  "amqplib",
  "better-sqlite3",
  "cassandra-driver",
  "ioredis",
  "kafkajs",
  "mongodb",
  "mssql",
  "mysql",
  "mysql2",
  "nats",
  "nodemailer",
  "oracledb",
  "pg-native",
  "postgres",
  "redis",
  "snowflake-sdk",
  "sqlite3",
  "ssh2",
  "tedious",
  "ws",
];

/** What is recorded in this process and what is not. */
export class Coverage {
  readonly covered: readonly string[];
  readonly #uncovered: Set<string>;

  constructor(covered: readonly string[]) {
    this.covered = [...new Set(covered)].toSorted();
    this.#uncovered = new Set(BUILTINS.filter((name) => !this.covered.includes(name)));
    for (const name of PACKAGES) {
      if (!this.covered.includes(name)) onPackage(name, () => this.#uncovered.add(name));
    }
  }

  /** Libraries that can act and are not recorded: Node's own, and packages loaded so far. */
  get uncovered(): readonly string[] {
    return [...this.#uncovered].toSorted();
  }
}
