// `npm run soak:burst [actions]`: 50 agents act at once, in one process, into a real collector and its ClickHouse. Every
// action is in the table, once, on its agent, and neither process grows with the burst.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

import { startTrail, until, type Trail } from "../apps/trail.ts";
import { closeServer, listen } from "../support/listen.ts";
import { tempDir } from "../support/index.ts";

interface BurstSoak {
  readonly actions: number;
  /** In the table. */
  readonly rows: number;
  /** Different targets, and different record ids, among them. */
  readonly targets: number;
  readonly ids: number;
  /** Rows on an agent that is not the one named in the target. */
  readonly misattributed: number;
  readonly failures: number;
  /** What the server answered. */
  readonly served: number;
  readonly actedMs: number;
  readonly totalMs: number;
  /** MiB resident: the application before the burst, at most; the collector after it. */
  readonly appBefore: number;
  readonly appMost: number;
  readonly collector: number;
}

const AGENTS = 50;
const MIB = 1024 * 1024;
const ACTIONS = "FROM audit_events WHERE ServiceName = 'burst' AND ActorId LIKE 'agent:%'";

export async function soakBurst(actions: number): Promise<BurstSoak> {
  await using trail = await startTrail("burst");
  let served = 0;
  const server = createServer((_, response) => {
    served++;
    response.end();
  });
  const started = performance.now();
  try {
    const said = await trail.run<{ before: number; most: number; actedMs: number }>("../soak/burst-app.ts", {
      service: "burst",
      env: {
        API: `http://127.0.0.1:${await listen(server)}`,
        DIR: tempDir("burst-files"),
        AGENTS: String(AGENTS),
        EACH: String(actions / AGENTS),
      },
    });
    const end = "SELECT 1 FROM audit_events WHERE ServiceName = 'burst' AND EventName = 'process.summary'";
    await until("the end of the burst", async () => (await trail.collector.sql(end)).length > 0, 300_000);
    return {
      actions,
      ...(await count(trail)),
      served,
      actedMs: said.actedMs,
      totalMs: performance.now() - started,
      appBefore: said.before / MIB,
      appMost: said.most / MIB,
      collector: residentMiB(trail.collector.process.pid),
    };
  } finally {
    await closeServer(server);
  }
}

async function count(
  trail: Trail,
): Promise<Pick<BurstSoak, "rows" | "targets" | "ids" | "misattributed" | "failures">> {
  const [row] = await trail.collector.sql<Record<string, string>>(`
    SELECT toString(count()) AS rows, toString(uniqExact(TargetId)) AS targets, toString(uniqExact(RecordId)) AS ids,
      toString(countIf(ActorId != concat('agent:', extract(TargetId, '([^/_]+)_[0-9]+$')))) AS misattributed,
      toString(countIf(Outcome != 'success')) AS failures ${ACTIONS}`);
  const number = (name: string): number => Number(row?.[name]);
  return {
    rows: number("rows"),
    targets: number("targets"),
    ids: number("ids"),
    misattributed: number("misattributed"),
    failures: number("failures"),
  };
}

/** Of the process alone, without its children; NaN where the system has no /proc. */
function residentMiB(pid: number): number {
  try {
    return Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;
  } catch {
    return Number.NaN;
  }
}

/** What is wrong, a line each. */
export function burstProblems(soak: BurstSoak): string[] {
  const expected: Partial<Record<keyof BurstSoak, number>> = {
    rows: soak.actions,
    targets: soak.actions,
    ids: soak.actions,
    misattributed: 0,
    failures: 0,
    served: soak.actions / 2,
  };
  return Object.entries(expected).flatMap(([name, value]) => {
    const is = soak[name as keyof BurstSoak];
    return is === value ? [] : [`${name}: ${is} instead of ${value}`];
  });
}

if (import.meta.main) {
  const soak = await soakBurst(Number(process.argv[2] ?? 200_000));
  const problems = burstProblems(soak);
  for (const problem of problems) console.log(problem);
  const { actions, rows, ids, misattributed, actedMs, totalMs, appBefore, appMost, collector } = soak;
  console.log(
    `${actions} actions of ${AGENTS} agents: ${rows} rows, ${rows - ids} doubled, ${actions - ids} lost, ${misattributed} misattributed`,
  );
  console.log(`acted ${(actedMs / 1000).toFixed(1)} s, all in the table after ${(totalMs / 1000).toFixed(1)} s`);
  console.log(
    `resident at most: application ${appMost.toFixed(0)} MiB (${appBefore.toFixed(0)} before), collector ${collector.toFixed(0)} MiB`,
  );
  process.exitCode = problems.length === 0 ? 0 : 1;
}
