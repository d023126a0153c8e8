// Two agents at once over what they share: a pool of one connection, one socket, the thread pool. What each touches has its name
// in it, so that a record on the wrong agent shows.
import { withAgent } from "@otel-audit/instrumentation-node";
import { readFile, rename, writeFile } from "node:fs/promises";
import http from "node:http";
import { join } from "node:path";
import { Pool as DatabasePool } from "pg";
import { Pool } from "undici";

const { API, DATABASE, DIR } = process.env;
if (API === undefined || DATABASE === undefined || DIR === undefined)
  throw new Error("API, DATABASE and DIR are required");

const EACH = 50;
const pool = new DatabasePool({ connectionString: DATABASE, max: 1 });
const oneSocket = new http.Agent({ keepAlive: true, maxSockets: 1 });
const oneConnection = new Pool(API, { connections: 1 });
const times = Array.from({ length: EACH }, (_, i) => i);

const ways: Readonly<Record<string, (agent: string, i: number) => Promise<unknown>>> = {
  query: (agent) => pool.query(`SELECT * FROM ${agent}_notes`),
  "query with a callback": (agent) =>
    new Promise((done) => pool.query(`UPDATE ${agent}_notes SET n = n + 1`, () => done(undefined))),
  "client of its own": async (agent) => {
    const client = await pool.connect();
    try {
      await client.query(`DELETE FROM ${agent}_notes WHERE n < 0`);
    } finally {
      client.release();
    }
  },
  fetch: async (agent, i) => (await fetch(`${API}/fetch/${agent}/${i}`)).text(),
  undici: async (agent, i) =>
    (await oneConnection.request({ path: `/undici/${agent}/${i}`, method: "GET" })).body.text(),
  "http over one socket": (agent, i) =>
    new Promise((done, failed) => {
      const request = http.get(`${API}/http/${agent}/${i}`, { agent: oneSocket }, (response) =>
        response.resume().on("end", done),
      );
      request.on("error", failed);
    }),
  files: async (agent, i) => {
    const file = join(DIR, `${agent}-${i}`);
    await writeFile(file, agent);
    await rename(file, `${file}.moved`);
    await readFile(`${file}.moved`);
  },
};

/** Every action of both agents is begun before the first has ended. */
for (const way of Object.values(ways))
  await Promise.all(times.flatMap((i) => ["a", "b"].map((agent) => withAgent({ id: agent }, () => way(agent, i)))));
await Promise.all([pool.end(), oneConnection.close()]);
oneSocket.destroy();
process.stdout.write(`${JSON.stringify({ ways: Object.keys(ways).length, each: EACH })}\n`);
