// `npm run demo`: a collector with the embedded engine, a PostgreSQL, a small API, and two agents that do one refund. Ends
// with 0 only if the table holds exactly the records of what happened.
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { Client } from "pg";
import {
  otelAudit,
  startCollector,
  startHttpApi,
  startPostgres,
  startProcess,
  tempDir,
  type HttpApi,
  type Postgres,
} from "../../test/support/index.ts";
import { EXPECTED, differences } from "./expected.ts";
import type { AuditRow } from "./records.ts";

const WORKFLOW_ID = "refund-1001";
const here = fileURLToPath(new URL(".", import.meta.url));
const register = fileURLToPath(new URL("../../packages/instrumentation-node/dist/register.js", import.meta.url));

/** Runs the demo; true when the table holds what it should. */
export async function demo(dataDir: string, print: (line: string) => void): Promise<boolean> {
  await rm(dataDir, { recursive: true, force: true });
  print("starting the collector, PostgreSQL and the refunds API");
  const world = tempDir("demo");
  await using postgres = await startPostgres({ sql: SCHEMA });
  await using api = await startHttpApi({
    routes: { "POST /v1/refunds": { status: 201, body: { id: 1 } }, "GET /v1/refunds/*": { status: 404, body: {} } },
  });
  await prepareFiles(world);
  await using collector = await startCollector({ dataDir, config: join(here, "collector.yaml") });

  print("two agents do one refund\n");
  await using agents = await startProcess(process.execPath, ["--import", register, join(here, "agents.ts")], {
    env: agentEnvironment({ world, endpoint: collector.endpoints.otlpHttp, postgres, api }),
  });
  const { code } = await agents.exited;
  if (code !== 0) throw new Error(`the agents ended with ${code}:\n${agents.stdout}\n${agents.stderr}`);
  await collector.process.kill("SIGTERM");

  const rows = await query(dataDir, "jsonl").then((text) =>
    text
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line) as AuditRow),
  );
  print(await query(dataDir, "table"));
  compare(agents.stdout, rows, print);
  const problems = [...differences(rows), ...(await effects(postgres, api))];
  for (const problem of problems) print(problem);
  if (problems.length === 0) epilogue(dataDir, print);
  return problems.length === 0;
}

/** What the other sides saw: what was denied must not have happened, and what was allowed must have. */
async function effects(postgres: Postgres, api: HttpApi): Promise<string[]> {
  const client = new Client({ connectionString: postgres.url });
  await client.connect();
  try {
    const cards = await client.query<{ number: string }>("SELECT number FROM cards");
    const orders = await client.query<{ status: string }>("SELECT status FROM orders");
    const problems: string[] = [];
    if (cards.rows[0]?.number !== CARD) problems.push("the denied statement changed the card");
    if (orders.rows[0]?.status !== "refunded") problems.push("the allowed statement did not change the order");
    if (api.requests.length !== 2) problems.push(`the API was called ${api.requests.length} times, not twice`);
    return problems;
  } finally {
    await client.end();
  }
}

const CARD = "4000 0000 0000 0002";
const SCHEMA = `
CREATE TABLE orders (id int PRIMARY KEY, total numeric, status text);
CREATE TABLE cards (customer int, number text);
INSERT INTO orders VALUES (1001, 42, 'paid');
INSERT INTO cards VALUES (4711, '${CARD}');
`;

async function prepareFiles(dir: string): Promise<void> {
  await mkdir(join(dir, "kb"));
  await mkdir(join(dir, "work"));
  await writeFile(join(dir, "kb", "refund-policy.md"), "Refunds within 30 days.\n");
  await writeFile(join(dir, "kb", "limits.md"), "Up to 100 without asking.\n");
}

function agentEnvironment(parts: {
  world: string;
  endpoint: string;
  postgres: Postgres;
  api: HttpApi;
}): Record<string, string> {
  return {
    DEMO_DIR: parts.world,
    DATABASE_URL: parts.postgres.url,
    REFUNDS_API: parts.api.url,
    WORKFLOW_ID,
    OTEL_SERVICE_NAME: "refund-desk",
    OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT: parts.endpoint,
    OTEL_AUDIT_POLICY: join(here, "policy.yaml"),
    OTEL_AUDIT_SPOOL_DIR: join(parts.world, "spool"),
  };
}

async function query(dataDir: string, format: "jsonl" | "table"): Promise<string> {
  await using run = await startProcess(process.execPath, [
    otelAudit,
    "query",
    "--data",
    dataDir,
    "--workflow",
    WORKFLOW_ID,
    "--format",
    format,
  ]);
  const { code } = await run.exited;
  if (code !== 0) throw new Error(`otel-audit query ended with ${code}: ${run.stderr}`);
  return run.stdout;
}

/** What the agents said beside what was observed. */
function compare(stdout: string, rows: readonly AuditRow[], print: (line: string) => void): void {
  for (const line of stdout.split("\n").filter((text) => text.startsWith("{"))) {
    const { agent, text } = JSON.parse(line) as { agent: string; text: string };
    const own = rows.filter((row) => row.ActorId === agent);
    const notable = own.filter((row) => row.Decision !== "allow" || row.Outcome === "failure");
    print(`${agent} said:     ${text}`);
    print(`${agent} did:      ${own.length} actions${notable.length === 0 ? ", all allowed" : "; among them:"}`);
    for (const row of notable)
      print(
        `               ${row.Action} ${row.TargetId}: ${row.Blocked ? "denied and stopped" : `${row.Decision}, ${row.Outcome}`}`,
      );
  }
}

function epilogue(dataDir: string, print: (line: string) => void): void {
  const data = relative(process.cwd(), dataDir) || ".";
  print(`\nthe table holds exactly the ${EXPECTED.length} records of the workflow; they are in ${data}. Try next:`);
  print(`  npx otel-audit query --data ${data} --decision deny`);
  print(`  npx otel-audit query --data ${data} --agent refunds --format json`);
  print(`  npx otel-audit run -- node -e "require('fs').readFileSync('package.json')"`);
}

if (import.meta.main) {
  const dataDir = resolve("otel-audit-data", "demo");
  const ok = await demo(dataDir, (line) => void process.stdout.write(`${line}\n`));
  process.exitCode = ok ? 0 : 1;
}
