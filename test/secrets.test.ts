// A run full of secrets, and then a search for them in all that otel-audit wrote, wherever it wrote.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { startApp, startTrailCollector, until } from "./apps/trail.ts";
import {
  freePort,
  startHttpApi,
  startOtlpSink,
  startPostgres,
  tempDir,
  type RunningCollector,
} from "./support/index.ts";

const SECRET = "hunter2-9f4c1e";

interface File {
  readonly path: string;
  readonly bytes: Buffer;
}

function filesBelow(directory: string): File[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .map((path) => ({ path, bytes: readFileSync(path) }));
}

/** The encodings in which a secret would still be one. */
const FORMS = ["utf8", "utf16le", "hex", "base64"] as const;
const needles = FORMS.flatMap((form) =>
  // Base64 depends on where a text begins: two characters at the edges are left out.
  form === "base64"
    ? ["", "x", "xx"].map((before) =>
        Buffer.from(before + SECRET)
          .toString("base64")
          .slice(4, -4),
      )
    : [form === "hex" ? Buffer.from(SECRET).toString("hex") : Buffer.from(SECRET, form)],
);

function leaks(files: readonly File[]): string[] {
  return files.flatMap(({ path, bytes }) =>
    needles.flatMap((needle) => {
      const at = bytes.indexOf(needle);
      return at < 0 ? [] : [`${path}: ${bytes.toString("latin1", Math.max(0, at - 60), at + 80)}`];
    }),
  );
}

const contains = (files: readonly File[], text: string): boolean => files.some(({ bytes }) => bytes.includes(text));

async function everyTable(collector: RunningCollector): Promise<File[]> {
  const tables = [
    "audit_events",
    "audit_events_once",
    "audit_duplicates",
    "audit_conflicts",
    "audit_seals",
    "otel_traces",
  ];
  return Promise.all(
    tables.map(async (path) => {
      const columns = path.startsWith("audit_events") ? "*, AllAttributes" : "*";
      const rows = await collector.sql(`SELECT ${columns} FROM ${path}`);
      return { path, bytes: Buffer.from(JSON.stringify(rows)) };
    }),
  );
}

/** What is not secret and has to be found, or the search would prove nothing. */
const VISIBLE = ["visible-http", "visible-post", "visible-fetch", "visible-undici", "visible_users", "visible-file"];

it.each([
  ["as text", Buffer.from(`a: ${SECRET}`)],
  ["as UTF-16", Buffer.from(`a: ${SECRET}`, "utf16le")],
  ["in hex", Buffer.from(Buffer.from(`a: ${SECRET}-x`).toString("hex"))],
  ...["a", "ab", "abc"].map(
    (before) =>
      [`in base64, after ${before}`, Buffer.from(Buffer.from(`${before}${SECRET}-x`).toString("base64"))] as const,
  ),
] as const)("would find a secret %s", (_, bytes) => {
  expect(leaks([{ path: "somewhere", bytes }])).not.toEqual([]);
});

it("leaves no secret in spool, log, engine, tables, output, or at the debug backend", async () => {
  const [spoolDir, dataDir, files] = [tempDir("secret-spool"), tempDir("secret-data"), tempDir("secret-files")];
  const port = await freePort();
  await using api = await startHttpApi();
  api.on("GET /redirect", {
    status: 302,
    headers: { location: `${api.url}/visible-target?code=${SECRET}-redirect` },
    body: { token: `${SECRET}-answer` },
  });
  await using postgres = await startPostgres({ sql: "CREATE TABLE visible_users (name text UNIQUE);" });
  await using debug = await startOtlpSink();
  const env = {
    SECRET,
    API: api.url,
    DATABASE: postgres.url,
    DIR: files,
    OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT: `http://u:${SECRET}-endpoint@127.0.0.1:${port}`,
    OTEL_AUDIT_EXPORTER_OTLP_HEADERS: `x-api-key=${SECRET}-header`,
  };
  const endpoint = `http://127.0.0.1:${port}`;
  const start = (age: string): Promise<RunningCollector> =>
    startTrailCollector(dataDir, debug, { TEST_OTLP_PORT: String(port), TEST_SEGMENT_AGE: age });
  const output: File[] = [];

  // Without a collector all of it is in the spool.
  await using app = await startApp("secrets.ts", { service: "keeper", env }, endpoint, spoolDir);
  expect(await app.exited).toMatchObject({ code: 0 });
  output.push({ path: "output of the application", bytes: Buffer.from(app.stdout + app.stderr) });
  expect(app.stderr).toContain("records wait in");
  const spool = filesBelow(spoolDir);
  for (const text of VISIBLE) expect(contains(spool, text), `${text} in the spool`).toBe(true);
  // The application did what it says: the secrets were sent.
  const sent = JSON.stringify(api.requests);
  for (const place of ["bearer", "cookie", "http-query", "http-body", "fetch-body", "fetch-query", "undici-body"])
    expect(sent).toContain(`${SECRET}-${place}`);
  expect(sent).toContain(Buffer.from(`u:${SECRET}-http-auth`).toString("base64"));

  // With segments that stay open all of it is in the log.
  {
    await using collector = await start("60000");
    await using sweeper = await startApp("file-stream.ts", { service: "sweeper", env }, endpoint, spoolDir);
    expect(await sweeper.exited).toMatchObject({ code: 0 });
    expect(readdirSync(spoolDir)).toEqual([]);
    await collector.process.kill("SIGKILL");
    output.push({
      path: "output of the collector",
      bytes: Buffer.from(collector.process.stdout + collector.process.stderr),
    });
  }
  const log = filesBelow(dataDir);
  for (const text of VISIBLE) expect(contains(log, text), `${text} in the log`).toBe(true);

  // And then in the engine.
  let tables: File[];
  {
    await using collector = await start("50");
    const rows = "SELECT 1 FROM audit_events WHERE ServiceName = 'keeper' AND EventName = 'process.summary'";
    await until("the records", async () => (await collector.sql(rows)).length > 0);
    tables = await everyTable(collector);
    await collector.process.kill("SIGTERM");
    output.push({
      path: "output of the collector",
      bytes: Buffer.from(collector.process.stdout + collector.process.stderr),
    });
  }
  for (const text of VISIBLE) expect(contains(tables, text), `${text} in the tables`).toBe(true);

  expect(leaks(spool)).toEqual([]);
  expect(leaks(log)).toEqual([]);
  expect(leaks(filesBelow(dataDir))).toEqual([]);
  expect(leaks(tables)).toEqual([]);
  expect(leaks(output)).toEqual([]);
  expect(debug.spans).toEqual([]);
});
