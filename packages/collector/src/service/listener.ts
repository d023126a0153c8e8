import { findPortOwner } from "@otel-audit/exporter-clickhouse";
import { chmod, lstat, mkdtemp, rename, rm, rmdir } from "node:fs/promises";
import { connect, createServer, type ListenOptions, type Server } from "node:net";
import { join } from "node:path";
import { formatAddress, type Address, type UnixAddress } from "../config/address.ts";
import { CollectorError, errorMessage } from "../errors.ts";

/** Where a server listens. */
export interface Place {
  /** Looked at when it starts to listen. */
  readonly address: Address | UnixAddress;
  /** Other threads listen on the same port; see SO_REUSEPORT in socket(7). */
  readonly reusePort?: boolean;
  /** None of them does yet. */
  readonly first?: boolean;
  /** Told the port once it listens. */
  assigned?(port: number): void;
}

/** A server on one address, that tells what is wrong with the address. */
export class Listener {
  readonly #server: Server;
  readonly #place: Place;
  readonly #what: string;
  /** The socket file that is ours. */
  #file: { readonly path: string; readonly inode: number } | undefined;

  /** @param what the setting that holds the address, for the error that names it */
  constructor(what: string, server: Server, place: Place) {
    this.#what = what;
    this.#server = server;
    this.#place = place;
  }

  get listening(): boolean {
    return this.#server.listening;
  }

  /** `<scheme>://host:port`, or `unix:<path>`; undefined while it does not listen. */
  url(scheme: "http" | "https"): string | undefined {
    const bound = this.#server.address();
    if (bound === null) return undefined;
    if (typeof bound === "string") return formatAddress(this.#place.address);
    return `${scheme}://${formatAddress({ host: bound.address, port: bound.port })}`;
  }

  async listen(): Promise<void> {
    const { address, reusePort, first } = this.#place;
    if ("path" in address) {
      await this.#listenUnix(address.path);
      return;
    }
    // Another process that shares its port would take half of our connections, and nobody would be told.
    if (reusePort && first) await this.#probe(address);
    await this.#bind({ ...address, ...(reusePort && { reusePort }) });
    const bound = this.#server.address();
    if (typeof bound === "object" && bound) this.#place.assigned?.(bound.port);
  }

  /** Takes no connections any more; resolves when those that there are have ended. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    if (this.#file) {
      const { path, inode } = this.#file;
      const now = await lstat(path).catch(() => undefined);
      if (now?.ino === inode) await rm(path, { force: true });
    }
    await closed;
  }

  /** Listens for a moment as one who shares with nobody. */
  async #probe(address: Address): Promise<void> {
    const server = createServer();
    await this.#bind(address, server);
    await new Promise((resolve) => server.close(resolve));
  }

  async #bind(options: ListenOptions, server = this.#server): Promise<void> {
    const error = await new Promise<NodeJS.ErrnoException | undefined>((resolve) => {
      server.once("error", resolve);
      server.listen(options, () => {
        server.off("error", resolve);
        resolve(undefined);
      });
    });
    if (error) throw await this.#listenError(error);
  }

  /**
   * The socket is made in a directory that only this user can enter, closed to others, and only then moved to its place: at
   * no time can anybody else connect. The move also replaces what a killed process has left behind.
   */
  async #listenUnix(path: string): Promise<void> {
    const there = await lstat(path).catch(() => undefined);
    if (there && !there.isSocket()) throw this.#error("INVALID_CONFIG", `"${path}" is there and is not a socket`);
    if (there && (await somebodyListens(path))) {
      throw this.#error(
        "ADDRESS_IN_USE",
        `unix:${path} is in use by another process; stop that one or use another path`,
      );
    }
    let directory: string;
    try {
      directory = await mkdtemp(`${path}.`);
    } catch (cause) {
      throw this.#error("INVALID_CONFIG", `cannot listen on unix:${path}: ${errorMessage(cause)}`, cause);
    }
    const made = join(directory, "s");
    try {
      await this.#bind({ path: made });
      await chmod(made, 0o600);
      const { ino: inode } = await lstat(made);
      await rename(made, path);
      this.#file = { path, inode };
    } finally {
      await rmdir(directory).catch(() => {});
    }
  }

  async #listenError(error: NodeJS.ErrnoException): Promise<CollectorError> {
    const { address } = this.#place;
    const text = formatAddress(address);
    if (error.code !== "EADDRINUSE" || "path" in address)
      return this.#error("INVALID_CONFIG", `cannot listen on ${text}: ${error.message}`, error);
    const owner = (await findPortOwner(address.port)) ?? "another process";
    return this.#error(
      "ADDRESS_IN_USE",
      `${text} is in use by ${owner}; stop that one, or move all ports with --port-offset N`,
      error,
    );
  }

  #error(code: "ADDRESS_IN_USE" | "INVALID_CONFIG", message: string, cause?: unknown): CollectorError {
    return new CollectorError(code, `${this.#what}: ${message}`, { cause });
  }
}

/** A socket file whose process is gone refuses connections. */
function somebodyListens(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket
      .once("connect", () => {
        socket.destroy();
        resolve(true);
      })
      .once("error", (error: NodeJS.ErrnoException) => {
        resolve(error.code !== "ECONNREFUSED" && error.code !== "ENOENT");
      });
  });
}
