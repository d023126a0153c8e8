// What happens to records when a process or the collector goes away in between: each arrives, once, with its own agent.
import { readdirSync } from "node:fs";
import { expect, it } from "vitest";
import { startApp, startTrailCollector, until, type AppOptions } from "./apps/trail.ts";
import { freePort, startOtlpSink, tempDir, type RunningCollector } from "./support/index.ts";

/** Files of `agent` written by whom, and how often: a record on another agent would be a line of its own. */
async function written(collector: RunningCollector): Promise<Record<string, string>> {
  const rows = await collector.sql<{ who: string; files: string; records: string; ids: string }>(`
    SELECT concat(ActorId, ' wrote files of ', extract(TargetId, '([^/]+)-[0-9]+$')) AS who,
      toString(uniqExact(TargetId)) AS files, toString(count()) AS records, toString(uniqExact(RecordId)) AS ids
    FROM audit_events WHERE EventName = 'file.write' GROUP BY who`);
  return Object.fromEntries(rows.map(({ who, files, records, ids }) => [who, `${files} ${records} ${ids}`]));
}

async function total(collector: RunningCollector): Promise<number> {
  const [row] = await collector.sql<{ n: string }>(
    "SELECT toString(count()) AS n FROM audit_events WHERE EventName = 'file.write'",
  );
  return Number(row?.n);
}

const once = (agents: readonly string[], each: number): Record<string, string> =>
  Object.fromEntries(agents.map((agent) => [`${agent} wrote files of ${agent}`, `${each} ${each} ${each}`]));

/** A process that has nothing to do but what its start does: send what others left. */
async function sendLeftovers(endpoint: string, spoolDir: string): Promise<void> {
  await using sweeper = await startApp("file-stream.ts", { service: "sweeper" }, endpoint, spoolDir);
  expect(await sweeper.exited).toMatchObject({ code: 0 });
}

it("kill -9 of a process while the collector is away: the next one ships what it left, once", async () => {
  const spoolDir = tempDir("killed-spool");
  const port = await freePort();
  const endpoint = `http://127.0.0.1:${port}`;
  const options: AppOptions = {
    service: "killed",
    env: { AGENTS: "a,b", EACH: "100", DIR: tempDir("killed-files"), WAIT: "1" },
  };
  await using debug = await startOtlpSink();
  await using victim = await startApp("file-stream.ts", options, endpoint, spoolDir);
  await victim.waitForLine("all written");
  await victim.kill("SIGKILL");
  expect(readdirSync(spoolDir)).toHaveLength(1);

  const dataDir = tempDir("killed-data");
  await using collector = await startTrailCollector(dataDir, debug, { TEST_OTLP_PORT: String(port) });
  expect(await total(collector)).toBe(0);
  for (let i = 0; i < 2; i++) await sendLeftovers(endpoint, spoolDir);
  await until("200 records", async () => (await total(collector)) >= 200);
  expect(await written(collector)).toEqual(once(["a", "b"], 100));
  expect(readdirSync(spoolDir)).toEqual([]);
  const services = await collector.sql(
    "SELECT DISTINCT ServiceName, ResourceAttributes['process.pid'] AS pid FROM audit_events WHERE EventName = 'file.write'",
  );
  expect(services).toEqual([{ ServiceName: "killed", pid: String(victim.pid) }]);
});

it("restarts of the collector in a stream of 5,000 actions: none lost, none doubled, none on the wrong agent", async () => {
  const [spoolDir, dataDir, files] = [tempDir("stream-spool"), tempDir("stream-data"), tempDir("stream-files")];
  const port = await freePort();
  const endpoint = `http://127.0.0.1:${port}`;
  const start = (): Promise<RunningCollector> => startTrailCollector(dataDir, debug, { TEST_OTLP_PORT: String(port) });
  const stream = (agents: string): AppOptions => ({
    service: `stream-${agents}`,
    env: { AGENTS: agents, EACH: "1250", DIR: files, PAUSE_MS: "50", HOLD: "1" },
  });
  await using debug = await startOtlpSink();
  let collector = await start();
  try {
    await using first = await startApp("file-stream.ts", stream("a,b"), endpoint, spoolDir);
    await using second = await startApp("file-stream.ts", stream("c,d"), endpoint, spoolDir);
    await first.waitForLine("a: a quarter");
    await until("the first records", async () => (await total(collector)) > 0);
    await collector.process.kill("SIGKILL");
    expect(first.stdout).not.toContain("all written");
    await collector[Symbol.asyncDispose]();
    collector = await start();
    await second.waitForLine("d: half");
    await collector.process.kill("SIGTERM");
    await collector[Symbol.asyncDispose]();
    for (const { stdin } of [first, second]) stdin.end();
    collector = await start();
    expect(await first.exited).toMatchObject({ code: 0 });
    expect(await second.exited).toMatchObject({ code: 0 });
    await sendLeftovers(endpoint, spoolDir);
    await until("5,000 records", async () => (await total(collector)) >= 5000);
    expect(await written(collector)).toEqual(once(["a", "b", "c", "d"], 1250));
    expect(readdirSync(spoolDir)).toEqual([]);
    // Each start of the collector wrote a stream of its own, and none of them has a hole.
    const streams = (): Promise<{ rows: string; last: string }[]> =>
      collector.sql(
        "SELECT toString(count()) AS rows, toString(max(Sequence)) AS last FROM audit_events GROUP BY StreamId",
      );
    expect((await streams()).length).toBeGreaterThan(1);
    // Segments that are inserted side by side may come in another order.
    await expect.poll(async () => (await streams()).filter(({ rows, last }) => rows !== last)).toEqual([]);
  } finally {
    await collector[Symbol.asyncDispose]();
  }
});
