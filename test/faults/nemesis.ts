import { setTimeout as sleep } from "node:timers/promises";
import type { Book } from "./book.ts";
import { DATABASE_FAULTS, type DatabaseProxy } from "./database-proxy.ts";
import type { Disk } from "./disk.ts";
import { type Damage, flipBits, logFiles } from "./log-file.ts";
import { Random } from "./random.ts";
import type { Records } from "./records.ts";
import { type Service, kill } from "./service.ts";
import type { Shim } from "./shim.ts";

/** What faults are done to. */
export interface World {
  readonly service: Service;
  readonly log: string;
  readonly records: Records;
  readonly book: Book;
  /** Undefined where there is no compiler. */
  readonly shim: Shim | undefined;
  /** Undefined where mounting is not allowed. */
  readonly disk: Disk | undefined;
  /** Undefined with the embedded engine. */
  readonly proxy: DatabaseProxy | undefined;
  /** Files whose bits were flipped. */
  readonly damages: Damage[];
}

/** A fault: starts, lasts, and is over when it resolves. */
type Fault = (world: World, random: Random) => Promise<void>;

const DAY_MS = 86_400_000;

/** Faults of processes and of what they left on disk. One at a time. */
const PROCESS_FAULTS: Readonly<Record<string, Fault>> = {
  "kill-collector": (world) => restart(world, "SIGKILL"),
  "stop-collector": async (world, random) => {
    // A clean end; some are cut short.
    await world.service.collector.down("SIGTERM", random.pick([50, 500, 60_000]));
    await up(world);
  },
  "kill-engine": async ({ service }) => {
    const pid = service.enginePid();
    if (pid !== undefined) kill(pid, "SIGKILL");
  },
  "kill-both": async (world) => {
    const pid = world.service.enginePid();
    if (pid !== undefined) kill(pid, "SIGKILL");
    await restart(world, "SIGKILL");
  },
  "pause-collector": ({ service }, random) => pause(service.collector.pid, random),
  "pause-engine": ({ service }, random) => pause(service.enginePid(), random),
  "flip-synced": (world, random) => restart(world, "SIGKILL", () => flip(world, "below", random)),
  "flip-tail": (world, random) => restart(world, "SIGKILL", () => flip(world, "above", random)),
  "power-loss": (world, random) => restart(world, "SIGKILL", () => world.shim?.losePower(random)),
};

/** Faults of what is around: disk, clock, database. Beside those of processes, one at a time. */
const SURROUNDING_FAULTS: Readonly<Record<string, Fault>> = {
  "disk-full": async ({ disk, shim }, random) => {
    if (disk !== undefined) {
      disk.fill(random.pick([0, 4_096, 100_000]));
      await some(random);
      disk.free();
      return;
    }
    shim?.failWrites(1, "ENOSPC");
    await some(random);
    shim?.failWrites(0, "ENOSPC");
  },
  "sync-failure": async ({ shim }, random) => {
    shim?.failSyncs(random.pick([1, 2, 5, 20]), random.chance(0.5));
    await some(random);
    shim?.failSyncs(0);
  },
  "write-failure": async ({ shim }, random) => {
    shim?.failWrites(random.pick([1, 2, 5, 20]), random.pick(["EIO", "ENOSPC"]));
    await some(random);
    shim?.failWrites(0, "EIO");
  },
  "slow-disk": async ({ shim }, random) => {
    shim?.slowSyncs(random.between(5, 100));
    await some(random);
    shim?.slowSyncs(0);
  },
  clock: async ({ shim }, random) => {
    // Over the ends of months, back and forth; it stays so until the next jump.
    shim?.setClock(random.between(-40, 40) * DAY_MS + random.between(0, DAY_MS));
  },
};

/** Between the collector and the database. Beside the others, one at a time. */
const CONNECTION_FAULTS: Readonly<Record<string, Fault>> = Object.fromEntries(
  DATABASE_FAULTS.map((mode): [string, Fault] => [
    `db-${mode}`,
    async ({ proxy }, random) => {
      await proxy?.set(mode);
      await some(random, 3_000);
      await proxy?.set(undefined);
    },
  ]),
);

/** What producers do, see producer.ts; and the strange times of records.ts. */
const PRODUCER_FAULTS: readonly string[] = ["cut-connections", "rebatch", "duplicates", "conflicts", "strange-times"];

export function isProducerFault(fault: string): boolean {
  return PRODUCER_FAULTS.includes(fault);
}

export const ALL_FAULTS: readonly string[] = [
  ...Object.keys(PROCESS_FAULTS),
  ...Object.keys(SURROUNDING_FAULTS),
  ...Object.keys(CONNECTION_FAULTS),
  ...PRODUCER_FAULTS,
];

/** Why a fault cannot be had here; undefined when it can. */
export function unavailable(fault: string, { shim, disk, proxy }: World): string | undefined {
  const needsShim = ["power-loss", "sync-failure", "write-failure", "slow-disk", "clock"];
  if (needsShim.includes(fault) && shim === undefined) return "no gcc, or no Linux";
  if (fault === "disk-full" && disk === undefined && shim === undefined) return "mounting is not allowed, no gcc";
  if (fault in CONNECTION_FAULTS && proxy === undefined) return "the engine is embedded";
  return undefined;
}

interface Rage {
  readonly faults: readonly string[];
  readonly seed: number;
  /** How often every fault is done. */
  readonly rounds: number;
  /** The longest pause between two faults. */
  readonly pauseMs: number;
  readonly until: () => boolean;
  /** How often each was done. */
  readonly counts: Map<string, number>;
  readonly tell: (line: string) => void;
}

/** Does faults at random moments, those of three kinds side by side. */
export async function rage(world: World, { faults, seed, rounds, pauseMs, until, counts, tell }: Rage): Promise<void> {
  const lane = async (kind: string, all: Readonly<Record<string, Fault>>): Promise<void> => {
    const random = new Random(seed, kind);
    const possible = Object.keys(all).filter((name) => faults.includes(name));
    for (let round = 0; round < rounds && possible.length > 0; round++) {
      // Every fault comes up before one comes again.
      for (const name of random.shuffle(possible.slice())) {
        await sleep(random.between(0, pauseMs));
        if (until()) return;
        tell(name);
        counts.set(name, (counts.get(name) ?? 0) + 1);
        await all[name]!(world, random);
      }
    }
  };
  await Promise.all([
    lane("processes", PROCESS_FAULTS),
    lane("surroundings", SURROUNDING_FAULTS),
    lane("connections", CONNECTION_FAULTS),
  ]);
}

/** Everything as it should be: what is left then has to sort itself out. */
export async function calm({ service, shim, disk, proxy }: World): Promise<void> {
  shim?.failSyncs(0);
  shim?.failWrites(0, "EIO");
  shim?.slowSyncs(0);
  disk?.free();
  await proxy?.set(undefined);
  service.collector.up();
  await service.collector.untilReady();
}

async function restart(world: World, signal: "SIGKILL" | "SIGTERM", meanwhile?: () => unknown): Promise<void> {
  await world.service.collector.down(signal);
  meanwhile?.();
  await up(world);
}

/** It may not come up while something else is broken. */
async function up({ service }: World): Promise<void> {
  service.collector.up();
  await service.collector.untilReady(5_000);
}

function flip({ log, records, book, damages }: World, where: "below" | "above", random: Random): void {
  // More than one file may be waiting: the newest is the one that was written to.
  const files = logFiles(log).slice(where === "below" ? -8 : -1);
  if (files.length === 0) return;
  const damage = flipBits(random.pick(files), where, records, random);
  if (damage === undefined) return;
  damages.push(damage);
  for (const item of damage.records) book.mayBeLost(item);
}

async function pause(pid: number | undefined, random: Random): Promise<void> {
  if (pid === undefined) return;
  kill(pid, "SIGSTOP");
  await some(random);
  kill(pid, "SIGCONT");
}

function some(random: Random, most = 2_500): Promise<unknown> {
  return sleep(random.between(50, most));
}
