import { createHash, randomBytes } from "node:crypto";
import * as fs from "node:fs";
import * as net from "node:net";
import * as os from "node:os";
import * as path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { LedgerError } from "./errors.ts";

/** sun_path has 108 bytes on Linux, 104 on macOS, with a closing zero. */
const MAX_SOCKET_PATH = 100;
const ANSWER_MS = 1000;
const ATTEMPTS = 50;

/** `held 4711`: by that process. */
type State = "trying" | `held${string}`;

/**
 * Keeps a second process out of a data directory (rule L3), with listening unix sockets in `<dir>/lock/`. The kernel
 * closes them with the process, also at kill -9, and they reach across containers that share the directory.
 *
 * Each process publishes a socket under a random name that is never used again, then asks all the others in the
 * directory. Because everybody publishes before asking, of two processes at least one sees the other; the one with the
 * higher name gives way while both are trying. A name whose socket refuses connections belongs to a dead process, and
 * since names are never reused, removing it cannot hit a living one.
 */
export class DirectoryLock {
  readonly #server: net.Server;
  readonly #name: string;
  readonly #place: SocketPlace;

  private constructor(server: net.Server, name: string, place: SocketPlace) {
    this.#server = server;
    this.#name = name;
    this.#place = place;
  }

  /** Throws LedgerError LOCKED when another process holds the directory, IO when no socket can be made. */
  static async acquire(dir: string): Promise<DirectoryLock> {
    const place = openPlace(dir);
    try {
      for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
        const socket = await tryOnce(place, dir);
        if (socket !== undefined) return new DirectoryLock(socket.server, socket.name, place);
        await delay(5 + Math.random() * 45);
      }
    } catch (error) {
      place.close();
      throw LedgerError.fromIo(`lock ${dir}`, error);
    }
    place.close();
    throw new LedgerError("LOCKED", `${dir}: other processes are opening this directory all the time`);
  }

  async release(): Promise<void> {
    await closeServer(this.#server);
    this.#place.remove(this.#name);
    this.#place.close();
  }
}

/** The socket when the lock is ours, undefined when another process that is also trying goes first. */
async function tryOnce(place: SocketPlace, dir: string): Promise<{ server: net.Server; name: string } | undefined> {
  const id = randomBytes(8).toString("hex");
  const name = `${id}.sock`;
  let state: State = "trying";
  // Renamed only when it listens: between bind and listen a socket refuses, and would be taken for a dead one.
  const server = await listen(place.socket(`${id}.new`), () => state);
  try {
    place.publish(`${id}.new`, name);
    for (const other of place.names()) {
      if (other === name) continue;
      let answer = await ask(place.socket(other));
      // A lower name waits for the higher one to see it and give way; a higher name gives way.
      const patience = name < other ? ATTEMPTS : 0;
      for (let i = 0; answer === "trying" && i < patience; i++) {
        await delay(10);
        answer = await ask(place.socket(other));
      }
      if (answer === "dead") {
        place.remove(other);
      } else if (answer !== "trying") {
        throw new LedgerError("LOCKED", `${dir} is in use by ${holder(answer)}; stop it or choose another directory`);
      } else {
        await closeServer(server);
        place.remove(name);
        return undefined;
      }
    }
  } catch (error) {
    await closeServer(server);
    place.remove(name);
    throw error;
  }
  state = `held ${process.pid}`;
  return { server, name };
}

function isHeld(text: string): text is `held${string}` {
  return text.startsWith("held");
}

/** In words. One that is stopped does not tell its number. */
function holder(answer: string): string {
  const pid = /^held (\d+)$/.exec(answer)?.[1];
  return pid === undefined ? "another process" : `process ${pid}`;
}

interface SocketPlace {
  socket(name: string): string;
  publish(from: string, to: string): void;
  names(): string[];
  remove(name: string): void;
  close(): void;
}

/**
 * `<dir>/lock`, addressed through /proc when its path is too long for a socket. Where there is no /proc (macOS), a folder
 * in the temporary directory that is named after the data directory's device and inode.
 */
function openPlace(dir: string): SocketPlace {
  let folder = path.join(path.resolve(dir), "lock");
  fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
  const fd = fs.openSync(folder, "r");
  let prefix = folder;
  if (Buffer.byteLength(folder) + 24 > MAX_SOCKET_PATH) {
    prefix = `/proc/self/fd/${fd}`;
    if (!fs.existsSync(prefix)) {
      const { dev, ino } = fs.statSync(folder);
      const id = createHash("sha256").update(`${dev}:${ino}`).digest("hex").slice(0, 16);
      folder = path.join(os.tmpdir(), `otel-audit-lock-${id}`);
      fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
      prefix = folder;
    }
  }
  return {
    socket: (name) => `${prefix}/${name}`,
    publish: (from, to) => fs.renameSync(path.join(folder, from), path.join(folder, to)),
    names: () => fs.readdirSync(folder).filter((name) => name.endsWith(".sock")),
    remove: (name) => fs.rmSync(path.join(folder, name), { force: true }),
    close: () => fs.closeSync(fd),
  };
}

function listen(socket: string, state: () => State): Promise<net.Server> {
  return new Promise((resolve, reject) => {
    const server = net.createServer((connection) => {
      connection.on("error", () => undefined);
      connection.end(state());
    });
    server.once("error", reject);
    server.listen(socket, () => {
      server.unref();
      resolve(server);
    });
  });
}

function closeServer(server: net.Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}

/** A process that takes the connection but does not answer in time is busy or stopped: alive, and counts as holding. */
function ask(socket: string): Promise<State | "dead"> {
  return new Promise((resolve, reject) => {
    let text = "";
    const connection = net.connect(socket);
    const timer = setTimeout(() => finish("held"), ANSWER_MS);
    const finish = (answer: State | "dead"): void => {
      clearTimeout(timer);
      connection.destroy();
      resolve(answer);
    };
    connection.setEncoding("latin1");
    connection.on("data", (chunk: string) => (text += chunk));
    // A close without an answer is a process that gives way just now, or one without free descriptors: not a dead one.
    connection.on("close", () => finish(isHeld(text) ? text : "trying"));
    connection.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ECONNREFUSED" || error.code === "ENOENT") finish("dead");
      else if (error.code === "ECONNRESET" || error.code === "EPIPE") finish("trying");
      else if (error.code === "EAGAIN") finish("held"); // a full backlog is a living process
      else {
        clearTimeout(timer);
        reject(error);
      }
    });
  });
}
