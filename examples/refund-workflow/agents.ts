// Two agents do one refund. The process runs under `--import @otel-audit/instrumentation-node/register`: what stands here is
// what anyone would write with the official MCP client, pg, fetch and fs. Only `withAgent` says who acts.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { withAgent } from "@otel-audit/instrumentation-node";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { Pool } from "pg";

const { DEMO_DIR: dir, DATABASE_URL: databaseUrl, REFUNDS_API: api, WORKFLOW_ID: workflowId } = process.env;
if (!dir || !databaseUrl || !api || !workflowId)
  throw new Error("DEMO_DIR, DATABASE_URL, REFUNDS_API and WORKFLOW_ID are required");

const workflow = { name: "refund", id: workflowId };
const onBehalfOf = "user:4711";
const pool = new Pool({ connectionString: databaseUrl, max: 1 });

/** An unmodified filesystem server from npm for one agent, under the same `--import`; its identity comes by the environment. */
async function filesystemOf(agent: string): Promise<Client> {
  const server = createRequire(import.meta.url).resolve("@modelcontextprotocol/server-filesystem/dist/index.js");
  const client = new Client({ name: agent, version: "1.0.0" });
  const env = Object.fromEntries(
    Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
  await client.connect(
    new StdioClientTransport({
      command: process.execPath,
      args: [
        "--import",
        import.meta.resolve("@otel-audit/instrumentation-node/register"),
        server,
        join(dir!, "kb"),
        join(dir!, "work"),
      ],
      env: {
        ...env,
        OTEL_AUDIT_AGENT_ID: agent,
        OTEL_AUDIT_ON_BEHALF_OF: onBehalfOf,
        OTEL_AUDIT_WORKFLOW_NAME: workflow.name,
        OTEL_AUDIT_WORKFLOW_ID: workflow.id,
      },
      stderr: "ignore",
    }),
  );
  return client;
}

async function support(files: Client): Promise<string> {
  await files.callTool({ name: "read_text_file", arguments: { path: join(dir!, "kb", "refund-policy.md") } });
  const { rows } = await pool.query("SELECT id, total FROM orders WHERE id = $1", [1001]);
  await files.callTool({
    name: "write_file",
    arguments: { path: join(dir!, "work", "case-1001.md"), content: `order ${JSON.stringify(rows[0])}\n` },
  });
  return "I read the refund policy and order 1001, and left a note for the refunds agent.";
}

async function refunds(files: Client): Promise<string> {
  await files.callTool({ name: "read_text_file", arguments: { path: join(dir!, "kb", "limits.md") } });
  const response = await fetch(`${api}/v1/refunds`, {
    method: "POST",
    body: JSON.stringify({ order: 1001, amount: 42 }),
  });
  await response.json();
  await pool.query("UPDATE orders SET status = 'refunded' WHERE id = $1", [1001]);
  // Not its business: the policy stops this before a byte leaves.
  await pool
    .query("UPDATE cards SET number = $1 WHERE customer = $2", ["4000 0000 0000 0077", 4711])
    .catch(() => undefined);
  await fetch(`${api}/v1/refunds/9999`);
  await readFile(join(dir!, "kb", "escalation.md")).catch(() => undefined);
  return "I refunded order 1001 and updated its status. I only looked at the order.";
}

const [supportFiles, refundsFiles] = await Promise.all([filesystemOf("support"), filesystemOf("refunds")]);
const say = (agent: string, text: string): void => void process.stdout.write(`${JSON.stringify({ agent, text })}\n`);
await withAgent({ id: "support", onBehalfOf, workflow }, async () => say("support", await support(supportFiles)));
await withAgent({ id: "refunds", onBehalfOf, workflow }, async () => say("refunds", await refunds(refundsFiles)));
await Promise.all([supportFiles.close(), refundsFiles.close(), pool.end()]);
