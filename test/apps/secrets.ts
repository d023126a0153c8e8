// Does what applications do with secrets, and puts one in every place that has room for it. Each comes from the environment,
// so that none of them is in a file that somebody searches.
import { withAgent } from "@otel-audit/instrumentation-node";
import fs from "node:fs";
import fsp from "node:fs/promises";
import http from "node:http";
import { join } from "node:path";
import { Pool } from "pg";
import { request } from "undici";

const { API, DATABASE, DIR, SECRET } = process.env;
if (!API || !DATABASE || !DIR || !SECRET) throw new Error("API, DATABASE, DIR and SECRET are required");
/** A secret that tells its place, to see in a failure where it came from. */
const secret = (place: string): string => `${SECRET}-${place}`;
const ignore = (): void => undefined;

function withCredentials(url: string, place: string): URL {
  const result = new URL(url);
  result.username = secret(`${place}-user`);
  result.password = secret(`${place}-password`);
  return result;
}

const ended = (incoming: http.ClientRequest, body?: string): Promise<void> =>
  new Promise((done) => {
    incoming.on("response", (response) => response.resume().on("end", done));
    incoming.on("error", () => done());
    incoming.end(body);
  });

async function overHttp(api: string): Promise<void> {
  const headers = { authorization: `Bearer ${secret("bearer")}`, cookie: `session=${secret("cookie")}` };
  await ended(http.request(withCredentials(`${api}/visible-http?token=${secret("http-query")}`, "http"), { headers }));
  const options = { method: "POST", auth: `u:${secret("http-auth")}` };
  await ended(http.request(`${api}/visible-post#${secret("fragment")}`, options), secret("http-body"));
  await ended(http.get(`http://u:${secret("refused")}@127.0.0.1:9/visible-refused?k=${secret("refused-query")}`));
  const body = JSON.stringify({ password: secret("fetch-body") });
  await (
    await fetch(`${api}/visible-fetch?api_key=${secret("fetch-query")}`, { method: "POST", headers, body })
  ).text();
  await fetch(withCredentials(`${api}/refused-by-fetch`, "fetch")).catch(ignore);
  await (await fetch(`${api}/redirect`)).text();
  await fetch(`http://127.0.0.1:9/?k=${secret("fetch-refused")}`).catch(ignore);
  const { body: answer } = await request(`${api}/visible-undici?k=${secret("undici-query")}`, {
    method: "PUT",
    headers,
    body: secret("undici-body"),
  });
  await answer.text();
}

async function overSql(database: string): Promise<void> {
  const url = new URL(database);
  url.password = secret("database-password");
  url.searchParams.set("application_name", secret("application-name"));
  const pool = new Pool({ connectionString: url.href, max: 1 });
  const run = (text: string, values?: unknown[]): Promise<unknown> => pool.query(text, values).catch(ignore);
  await run(`INSERT INTO visible_users (name) VALUES ('${secret("literal")}')`);
  await run("INSERT INTO visible_users (name) VALUES ($1)", [secret("parameter")]);
  // What PostgreSQL says of these errors has the value in it: in the message, and in the detail.
  await run(`SELECT '${secret("cast")}'::int FROM visible_users`);
  await run("INSERT INTO visible_users (name) VALUES ($1)", [secret("parameter")]);
  await run(`SELECT 1 -- ${secret("comment")}`);
  await run(`SELECT * FROM visible_users WHERE name = $tag$${secret("dollar")}$tag$`);
  await run(`SELECTED '${secret("syntax-error")}' FROM visible_users`);
  await run(`DO $$ BEGIN RAISE EXCEPTION '${secret("raised")}'; END $$`);
  await run(`SET visible.setting = '${secret("set")}'`);
  await run(`ALTER ROLE postgres PASSWORD '${secret("alter-role")}'`);
  await pool
    .query({
      name: "visible-statement",
      text: "SELECT * FROM visible_users WHERE name = $1",
      values: [secret("prepared")],
    })
    .catch(ignore);
  await pool.end();
}

async function overFiles(dir: string): Promise<void> {
  const at = (name: string): string => join(dir, name);
  fs.writeFileSync(at("visible-file"), secret("written"));
  await fsp.appendFile(at("visible-file"), secret("appended"));
  await fsp.writeFile(at(".env"), `PASSWORD=${secret("dotenv")}`);
  await fsp.readFile(at(".env"));
  await fsp.copyFile(at(".env"), at("visible-copy"));
  fs.createWriteStream(at("visible-stream")).end(secret("streamed"));
}

await withAgent({ id: "keeper" }, async () => {
  await overHttp(API);
  await overSql(DATABASE);
  await overFiles(DIR);
});
