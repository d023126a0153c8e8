import { spawnSync } from "node:child_process";
import { closeSync, existsSync, ftruncateSync, linkSync, mkdirSync, openSync, readSync, readdirSync } from "node:fs";
import { renameSync, rmSync, statSync, truncateSync, writeSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Random } from "./random.ts";

// The layout of `struct control` in shim.c.
const FILES = 65_536;
const ENTRY_BYTES = 32;
const TABLE_OFFSET = 64;
const SIZE = TABLE_OFFSET + FILES * ENTRY_BYTES;
const EIO = 5;
const ENOSPC = 28;

/** What the shim knows of a file of the log. */
interface FileState {
  /** Bytes that were synced. */
  readonly synced: number;
  /** `created` or `renamed` and its directory not synced since. */
  readonly name: "durable" | "created" | "renamed";
}

/** shim.c, compiled, with its control file: the disk and the clock of a collector. */
export class Shim {
  readonly env: Readonly<Record<string, string>>;
  readonly #fd: number;
  readonly #graves: string;
  readonly #log: string;

  /** Undefined where there is no C compiler, or no Linux. */
  static build(directory: string, log: string): Shim | undefined {
    if (process.platform !== "linux") return undefined;
    const library = join(directory, "shim.so");
    const source = fileURLToPath(new URL("shim.c", import.meta.url));
    const built = spawnSync("gcc", ["-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"], { stdio: "ignore" });
    return built.status === 0 ? new Shim(directory, library, log) : undefined;
  }

  private constructor(directory: string, library: string, log: string) {
    const control = join(directory, "shim.control");
    // On the log's own file system: a grave is a hard link.
    this.#graves = join(log, "..", "graves");
    this.#log = log;
    mkdirSync(this.#graves, { recursive: true });
    this.#fd = openSync(control, "w+");
    ftruncateSync(this.#fd, SIZE);
    this.env = { LD_PRELOAD: library, FAULTS_CONTROL: control, FAULTS_LOG: log, FAULTS_GRAVES: this.#graves };
  }

  /** One in `oneIn` syncs fails (0: none). With `forgets`, what it was about reads as zeros afterwards. */
  failSyncs(oneIn: number, forgets = false): void {
    this.#write32(0, oneIn);
    this.#write32(4, forgets ? 1 : 0);
  }

  /** One in `oneIn` writes fails (0: none), half of it done. */
  failWrites(oneIn: number, error: "EIO" | "ENOSPC"): void {
    this.#write32(12, error === "EIO" ? EIO : ENOSPC);
    this.#write32(8, oneIn);
  }

  slowSyncs(ms: number): void {
    this.#write32(16, ms * 1000);
  }

  /** Moves the wall clock by so many milliseconds from the real one. */
  setClock(ms: number): void {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt(Math.round(ms)) * 1_000_000n);
    writeSync(this.#fd, bytes, 0, 8, 24);
  }

  get failed(): { syncs: number; writes: number } {
    const bytes = Buffer.alloc(16);
    readSync(this.#fd, bytes, 0, 16, 32);
    return { syncs: Number(bytes.readBigUInt64LE(0)), writes: Number(bytes.readBigUInt64LE(8)) };
  }

  /**
   * What a power loss may do to the log of a collector that is dead: what was not synced is cut off, garbled or not there, names
   * that were not synced are gone or the old ones, and removed files are back.
   * @returns what was changed
   */
  losePower(random: Random): number {
    let changes = 0;
    const states = this.#states();
    for (const stream of readdirSync(this.#log)) {
      for (const name of readdirSync(join(this.#log, stream))) {
        const file = join(this.#log, stream, name);
        const { ino, size } = statSync(file);
        const state = states.get(ino);
        if (state === undefined) continue;
        changes += this.#loseBytes(file, size, state.synced, random);
        changes += this.#loseName(file, state.name, random);
      }
    }
    return changes + this.#resurrect(random);
  }

  #loseBytes(file: string, size: number, synced: number, random: Random): number {
    if (size <= synced) return 0;
    const kept = random.between(synced, size);
    if (random.chance(0.5)) {
      truncateSync(file, kept);
      return 1;
    }
    // The size was on disk, the bytes not all.
    const garbage = Buffer.alloc(Math.min(size - synced, 4096), random.chance(0.5) ? 0 : 0xa5);
    const fd = openSync(file, "r+");
    writeSync(fd, garbage, 0, garbage.length, random.between(synced, size - garbage.length));
    closeSync(fd);
    return 1;
  }

  #loseName(file: string, name: FileState["name"], random: Random): number {
    if (name === "durable" || random.chance(0.5)) return 0;
    if (name === "created") rmSync(file);
    else if (!file.endsWith(".segment")) return 0;
    else {
      const before = file.replace(/\.segment$/, ".open");
      if (existsSync(before)) return 0;
      renameSync(file, before);
    }
    return 1;
  }

  /** Files whose removal was not synced may be there again. */
  #resurrect(random: Random): number {
    let changes = 0;
    for (const grave of readdirSync(this.#graves)) {
      const [stream, name] = grave.split("__");
      const from = join(this.#graves, grave);
      const directory = join(this.#log, stream!);
      if (existsSync(directory) && random.chance(0.7) && !existsSync(join(directory, name!))) {
        linkSync(from, join(directory, name!));
        changes++;
      }
      rmSync(from);
    }
    return changes;
  }

  #states(): Map<number, FileState> {
    const table = Buffer.alloc(FILES * ENTRY_BYTES);
    readSync(this.#fd, table, 0, table.length, TABLE_OFFSET);
    const states = new Map<number, FileState>();
    for (let at = 0; at < table.length; at += ENTRY_BYTES) {
      const inode = Number(table.readBigUInt64LE(at));
      if (inode === 0) continue;
      const name = (["durable", "created", "renamed"] as const)[Number(table.readBigUInt64LE(at + 24))] ?? "durable";
      states.set(inode, { synced: Number(table.readBigUInt64LE(at + 8)), name });
    }
    return states;
  }

  #write32(at: number, value: number): void {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    writeSync(this.#fd, bytes, 0, 4, at);
  }
}
