// Enforce mode from the outside: what is denied does not happen, says so through the caller's own channel, and is in the table.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Client } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startTrail, type AuditRow, type Trail } from "./apps/trail.ts";
import { startHttpApi, startPostgres, tempDir, type HttpApi, type Postgres } from "./support/index.ts";

const GUARD = fileURLToPath(new URL("apps/guard.yaml", import.meta.url));
const SQL = `
CREATE TABLE orders (id int, seen boolean DEFAULT false); INSERT INTO orders VALUES (1);
CREATE TABLE cards (id int, touched boolean DEFAULT false); INSERT INTO cards VALUES (1);`;

let trail: Trail;
let api: HttpApi;
let postgres: Postgres;
beforeAll(async () => {
  [trail, api, postgres] = await Promise.all([startTrail("enforce"), startHttpApi(), startPostgres({ sql: SQL })]);
});
afterAll(async () => {
  await Promise.all([trail[Symbol.asyncDispose](), api.close(), postgres.close()]);
});

const world = (dir: string): Record<string, string> => ({ API: api.url, DATABASE: postgres.url, DIR: dir });

async function ask(sql: string): Promise<unknown[]> {
  const client = new Client({ connectionString: postgres.url });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.end();
  }
}

describe("a policy that denies", () => {
  const dir = tempDir("vault");
  let heard: Readonly<Record<string, unknown>>;
  let rows: readonly AuditRow[];
  beforeAll(async () => {
    mkdirSync(join(dir, "vault"));
    writeFileSync(join(dir, "vault", "gold"), "safe");
    heard = await trail.run("enforced.ts", { service: "enforced", env: { ...world(dir), OTEL_AUDIT_POLICY: GUARD } });
    rows = await trail.records("enforced");
  });

  it.each([
    ["http.request", "error event", "no-payments", "WRITE"],
    ["http.get", "error event", "no-payments", "READ"],
    ["fetch", "rejected", "no-payments", "WRITE"],
    ["undici", "rejected", "no-payments", "UPDATE"],
    ["review", "rejected", "person-approves", "DELETE"],
    ["pool.query promise", "rejected", "no-cards", "UPDATE"],
    ["pool.query callback", "called back", "no-cards", "UPDATE"],
    ["pg.Query", "error event", "no-cards", "UPDATE"],
    ["one of several statements", "rejected", "no-cards", "UPDATE"],
    ["one table of a join", "rejected", "no-cards", "READ"],
    ["writeFileSync", "thrown", "no-vault", "WRITE"],
    ["openSync", "thrown", "no-vault", "WRITE"],
    ["rmSync", "thrown", "no-vault", "DELETE"],
    ["renameSync", "thrown", "no-vault", "UPDATE"],
    ["copyFile", "called back", "no-vault", "WRITE"],
    ["unlink", "called back", "no-vault", "DELETE"],
    ["promises.readFile", "rejected", "no-vault", "READ"],
    ["promises.writeFile", "rejected", "no-vault", "WRITE"],
    ["read stream", "error event", "no-vault", "READ"],
    ["write stream", "error event", "no-vault", "WRITE"],
  ])("%s: %s, and one record says so", (name, how, rule, action) => {
    const own = rows.filter(({ ActorId }) => ActorId === name);
    expect(own).toHaveLength(1);
    const [row] = own;
    expect(row).toMatchObject({
      Action: action,
      Outcome: "failure",
      ErrorType: "policy_denied",
      PolicyDecision: rule === "person-approves" ? "review" : "deny",
      PolicyEnforcement: "enforced",
      PolicyId: "guard",
      PolicyRule: rule,
      Blocked: true,
    });
    expect(heard[name]).toEqual({
      how,
      name: "AuditPolicyDeniedError",
      code: "EAUDITDENIED",
      rule,
      reason: row?.PolicyReason,
      recordId: row?.RecordId,
      message: expect.stringContaining(`denied by audit policy rule "${rule}"`),
    });
    expect(row?.PolicyReason).not.toBe("");
    // The same pool, agent and file system go on as before.
    expect(heard[`after ${name}`]).toBe("200 1 x");
  });

  it("lets nothing out to the API", () => {
    expect([...new Set(api.requests.map(({ path }) => path))]).toEqual(["/allowed"]);
  });

  it("leaves the files as they were", () => {
    expect(readdirSync(dir).toSorted()).toEqual(["allowed", "vault"]);
    expect(readdirSync(join(dir, "vault"))).toEqual(["gold"]);
    expect(readFileSync(join(dir, "vault", "gold"), "utf8")).toBe("safe");
  });

  it("leaves the tables as they were; a rule that only observes stops nothing", async () => {
    expect(await ask("SELECT * FROM cards")).toEqual([{ id: 1, touched: false }]);
    expect(await ask("SELECT * FROM orders")).toEqual([{ id: 1, seen: true }]);
    const [row] = await trail.collector.sql(
      "SELECT PolicyDecision, PolicyEnforcement, PolicyRule, Violation FROM audit_events WHERE ServiceName = 'enforced' AND ActorId = 'watched'",
    );
    expect(row).toEqual({
      PolicyDecision: "deny",
      PolicyEnforcement: "observed",
      PolicyRule: "watched",
      Violation: true,
    });
  });
});

describe("a policy that cannot be used", () => {
  const KEYS = ["fetch", "query", "write", "mkdir"].flatMap((name) => [`${name} by agent`, `${name} by nobody`]);

  it.each([
    ["that is no YAML", "rules: ["],
    ["with an unknown key", "policy: x\nmode: enforce\ndefault: allow\nrulez: []\n"],
    ["that is not there", undefined],
  ])("%s denies everything", async (name, text) => {
    const dir = tempDir("broken");
    const policy = join(dir, "policy.yaml");
    if (text !== undefined) writeFileSync(policy, text);
    api.clear();
    await ask("UPDATE orders SET seen = false");
    const service = `broken ${name}`;
    const env = { ...world(dir), OTEL_AUDIT_POLICY: policy };
    const heard = await trail.run<Record<string, unknown>>("denied-everything.ts", { service, env });
    expect(heard).toEqual(Object.fromEntries(KEYS.map((key) => [key, "policy_error"])));
    expect(api.requests).toEqual([]);
    expect(await ask("SELECT seen FROM orders")).toEqual([{ seen: false }]);
    expect(existsSync(join(dir, "file")) || existsSync(join(dir, "directory"))).toBe(false);
    const rows = await trail.records(service);
    expect(rows).toHaveLength(KEYS.length);
    for (const row of rows)
      expect(row).toMatchObject({ PolicyDecision: "deny", PolicyRule: "policy_error", Blocked: true });
  });
});
