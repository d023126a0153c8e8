// Tries what the policy denies by every API, each attempt as an agent named after it, and says how it heard of the denial. After
// each comes something that is allowed, with the same pool, socket or file system.
import { AuditPolicyDeniedError, withAgent } from "@otel-audit/instrumentation-node";
import fs from "node:fs";
import fsp from "node:fs/promises";
import http from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Pool, Query } from "pg";
import { request } from "undici";

const { API, DATABASE, DIR } = process.env;
if (API === undefined || DATABASE === undefined || DIR === undefined)
  throw new Error("API, DATABASE and DIR are required");
const at = (name: string): string => join(DIR, name);
const pool = new Pool({ connectionString: DATABASE, max: 1 });
const UPDATE = "UPDATE cards SET touched = true";

type Hear = (how: string, error?: unknown) => void;

const attempts: Readonly<Record<string, (hear: Hear) => unknown>> = {
  "http.request": (hear) =>
    http
      .request(`${API}/payments/1?by=request`, { method: "POST" }, () => hear("answered"))
      .on("error", (error) => hear("error event", error))
      .end("money"),
  "http.get": (hear) =>
    http.get(`${API}/payments/1`, () => hear("answered")).on("error", (error) => hear("error event", error)),
  fetch: (hear) =>
    fetch(`${API}/payments/1`, { method: "POST", body: "money" }).then(
      () => hear("answered"),
      (error: unknown) => hear("rejected", error),
    ),
  undici: (hear) =>
    request(`${API}/payments/1`, { method: "PUT", body: "money" }).then(
      () => hear("answered"),
      (error: unknown) => hear("rejected", error),
    ),
  review: (hear) =>
    fetch(`${API}/accounts/1`, { method: "DELETE" }).then(
      () => hear("answered"),
      (error: unknown) => hear("rejected", error),
    ),
  "pool.query promise": (hear) =>
    pool.query(UPDATE).then(
      () => hear("answered"),
      (error: unknown) => hear("rejected", error),
    ),
  "pool.query callback": (hear) => pool.query(UPDATE, (error) => hear("called back", error)),
  "pg.Query": async (hear) => {
    const client = await pool.connect();
    await new Promise<void>((done) => {
      const query = client.query(new Query(UPDATE));
      query.on("end", () => done(hear("answered")));
      query.on("error", (error: unknown) => done(hear("error event", error)));
    });
    client.release();
  },
  "one of several statements": (hear) =>
    pool.query(`SELECT 1; ${UPDATE}; SELECT 2`).then(
      () => hear("answered"),
      (error: unknown) => hear("rejected", error),
    ),
  "one table of a join": (hear) =>
    pool.query("SELECT * FROM orders JOIN cards ON cards.id = orders.id").then(
      () => hear("answered"),
      (error: unknown) => hear("rejected", error),
    ),
  writeFileSync: (hear) => thrown(hear, () => fs.writeFileSync(at("vault/gold"), "mine")),
  openSync: (hear) => thrown(hear, () => fs.openSync(at("vault/gold"), "w")),
  rmSync: (hear) => thrown(hear, () => fs.rmSync(at("vault"), { recursive: true })),
  renameSync: (hear) => thrown(hear, () => fs.renameSync(at("vault/gold"), at("gold"))),
  copyFile: (hear) => fs.copyFile(at("vault/gold"), at("gold"), (error) => hear("called back", error)),
  unlink: (hear) => fs.unlink(at("vault/gold"), (error) => hear("called back", error)),
  "promises.readFile": (hear) => fsp.readFile(at("vault/gold")).catch((error: unknown) => hear("rejected", error)),
  "promises.writeFile": (hear) =>
    fsp.writeFile(at("vault/new"), "mine").catch((error: unknown) => hear("rejected", error)),
  "read stream": (hear) => fs.createReadStream(at("vault/gold")).on("error", (error) => hear("error event", error)),
  "write stream": (hear) => fs.createWriteStream(at("vault/gold")).on("error", (error) => hear("error event", error)),
};

function thrown(hear: Hear, attempt: () => unknown): void {
  try {
    attempt();
    hear("done");
  } catch (error) {
    hear("thrown", error);
  }
}

const allowed = async (): Promise<string> => {
  const status = await new Promise<unknown>((done) =>
    http.get(`${API}/allowed`, (response) => response.resume().on("end", () => done(response.statusCode))),
  );
  const { rowCount } = await pool.query("SELECT * FROM orders");
  await fsp.writeFile(at("allowed"), "x");
  return `${String(status)} ${rowCount} ${fs.readFileSync(at("allowed"), "utf8")}`;
};

const heard: Record<string, unknown> = {};
for (const [name, attempt] of Object.entries(attempts)) {
  const hear = new Promise<unknown>((resolve) => {
    void withAgent({ id: name }, () => attempt((how, error) => resolve(report(how, error))));
  });
  heard[name] = await Promise.race([hear, sleep(20_000, "nothing", { ref: false })]);
  heard[`after ${name}`] = await withAgent({ id: "goes-on" }, allowed);
}
// Denied by a rule that only observes: it runs.
await withAgent({ id: "watched" }, () => pool.query("UPDATE orders SET seen = true"));
await pool.end();
process.stdout.write(`${JSON.stringify(heard)}\n`);

function report(how: string, error: unknown): unknown {
  if (!(error instanceof AuditPolicyDeniedError)) return { how, error: String(error) };
  const { name, code, rule, reason, recordId, message } = error;
  return { how, name, code, rule, reason, recordId, message };
}
