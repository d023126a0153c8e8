import type { EmbeddedEngine } from "@otel-audit/exporter-clickhouse";
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer, type ServerResponse } from "node:http";
import { join } from "node:path";
import { promisify } from "node:util";
import { once } from "node:events";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { freePort, startHttpApi, tempDir } from "../../../../test/support/index.ts";
import { engineWith } from "../testing/engine.ts";
import { recordsQuery, type AuditRow } from "./query.ts";
import { RecordSource, type SourceOptions } from "./source.ts";

const TOKEN = "a reader's token";
/** A process that cannot be: the highest number that Linux gives is 4194304. */
const NOBODY = 2 ** 31 - 2;

let dataDir: string;
let engine: EmbeddedEngine;

beforeAll(async () => {
  dataDir = tempDir("source");
  engine = await engineWith(dataDir, [{ ActorId: "a" }], TOKEN);
});
afterAll(() => engine.stop());

async function agents(options: SourceOptions): Promise<string[]> {
  const source = await RecordSource.open(options);
  try {
    const rows = await Array.fromAsync(source.rows<AuditRow>(recordsQuery({}, 10, options.database)));
    return rows.map((row) => row.ActorId);
  } finally {
    await source.close();
  }
}

function writeState(dir: string, state: unknown): void {
  writeFileSync(join(dir, "collector.json"), typeof state === "string" ? state : JSON.stringify(state));
}

describe("a running collector", () => {
  it("is found through collector.json, and asked for a token", async () => {
    writeState(dataDir, { pid: process.pid, endpoints: { sql: engine.url } });
    await expect(agents({ data: dataDir, token: TOKEN })).resolves.toEqual(["a"]);
    await expect(agents({ data: dataDir })).rejects.toThrow(
      /the collector \(process \d+\) at http:.* refuses us: .*OTEL_AUDIT_TOKEN/s,
    );
    await expect(agents({ data: dataDir, token: "wrong" })).rejects.toMatchObject({ code: "NO_DATA" });
  });

  it("that has no SQL endpoint writes to a server", async () => {
    const dir = tempDir("server");
    writeState(dir, { pid: process.pid, endpoints: {} });
    await expect(agents({ data: dir })).rejects.toThrow(/writes to a ClickHouse server; ask that one with --url URL/);
  });

  it("that does not answer is named when its files are locked", async () => {
    writeState(dataDir, { pid: process.pid, endpoints: { sql: `http://127.0.0.1:${await freePort()}` } });
    await expect(agents({ data: dataDir })).rejects.toThrow(
      /^cannot open the records in .*in use.*; the collector \(process \d+\) seems to have it open, but does not answer$/s,
    );
  });
});

describe("a data directory", () => {
  it("that is not there, or holds nothing, is an error that says what to do", async () => {
    const empty = tempDir("empty");
    await expect(agents({ data: join(empty, "missing") })).rejects.toThrow(
      /there is no directory ".*missing"; give .*--data DIR.*--url URL/,
    );
    await expect(agents({ data: empty })).rejects.toThrow(/holds no audit records/);
  });

  it.each([
    ["of a dead process", { pid: NOBODY, endpoints: { sql: "http://127.0.0.1:1" } }],
    ["that is cut", '{"pid":'],
    ["of something else", { pid: "1", endpoints: "x" }],
    ["of a pid that means a group", { pid: 0 }],
    ["that is null", null],
  ])("is not confused by a collector.json %s", async (_, state) => {
    const dir = tempDir("stale");
    writeState(dir, state);
    await expect(agents({ data: dir })).rejects.toThrow(/holds no audit records/);
  });

  it("is read from its files when nobody runs, also with a stale collector.json, and says what waits in the log", async () => {
    const dir = tempDir("files");
    const first = await engineWith(dir, [{ ActorId: "b" }]);
    await first.stop();
    // A server that would answer must not be taken for the collector that died.
    await using api = await startHttpApi();
    writeState(dir, { pid: NOBODY, endpoints: { sql: api.url } });
    await expect(agents({ data: dir })).resolves.toEqual(["b"]);
    expect(api.requests).toHaveLength(0);

    mkdirSync(join(dir, "log", "stream"), { recursive: true });
    writeFileSync(join(dir, "log", "stream", "00000001.segment"), "");
    const source = await RecordSource.open({ data: dir });
    await source.close();
    expect(source.notice).toMatch(/^records in 1 file of the log are not in the table yet/);
  });
});

describe("two queries at once", () => {
  it("wait for each other", async () => {
    const dir = tempDir("two");
    const writing = await engineWith(dir, [{ ActorId: "c" }]);
    await writing.stop();
    await expect(Promise.all([agents({ data: dir }), agents({ data: dir })])).resolves.toEqual([["c"], ["c"]]);
  });
});

describe("a server", () => {
  it("is asked with user and token", async () => {
    await expect(agents({ url: engine.url, user: "reader", token: TOKEN })).resolves.toEqual(["a"]);
    await expect(agents({ url: engine.url, user: "nobody", token: TOKEN })).rejects.toThrow(/refuses us/);
  });

  it("without our tables, or out of reach, is an error that says so", async () => {
    await expect(agents({ url: engine.url, token: TOKEN, database: "other" })).rejects.toThrow(
      /no audit tables in the database "other"; `otel-audit schema print`/,
    );
    await expect(agents({ url: `http://127.0.0.1:${await freePort()}` })).rejects.toThrow(
      /cannot be reached: .*ECONNREFUSED/,
    );
    await expect(agents({ url: `http://user:secret@127.0.0.1:${await freePort()}` })).rejects.not.toThrow(/secret/);
  });

  it.each(["", "127.0.0.1:8123", "ftp://127.0.0.1", "clickhouse"])("has no address %j", async (url) => {
    await expect(agents({ url })).rejects.toMatchObject({ code: "USAGE" });
  });

  it("that breaks off in the middle of an answer is an error, not a short answer", async () => {
    await using server = await answering((response) => {
      response.write('{"ActorId":"a"}\n');
      setImmediate(() => response.destroy());
    });
    await expect(agents({ url: server.url })).rejects.toMatchObject({ name: "CliError", code: "FAILED" });
  });

  it.each(["Code: 241. DB::Exception: Memory limit exceeded", '"text"', "null", '{"ActorId":'])(
    "that answers %s among the rows has failed",
    async (text) => {
      await using server = await answering((response) => response.end(`{"ActorId":"a"}\n${text}`));
      await expect(agents({ url: server.url })).rejects.toThrow(`the answer broke off: ${text}`);
    },
  );
});

/** A server that answers every request with 200 and what `answer` writes. */
async function answering(answer: (response: ServerResponse) => void): Promise<AsyncDisposable & { url: string }> {
  const server = createServer((request, response) => {
    request.resume();
    answer(response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await promisify(server.close.bind(server))();
    },
  };
}
