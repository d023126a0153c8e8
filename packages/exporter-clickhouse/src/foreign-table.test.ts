import { join } from "node:path";
import { Session } from "chdb";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { tempDir } from "../../../test/support/index.ts";
import { AuditWriter } from "./audit-writer.ts";
import { EmbeddedEngine } from "./embedded/index.ts";
import { schemaStatements } from "./schema.ts";
import { OneEngine, PATIENCE, Shipping } from "./testing/shipping.ts";

/** A table that is not what the rows fit into, or that was replaced. */
let one: OneEngine;
let way: Shipping;

beforeAll(async () => {
  one = await OneEngine.start();
});
afterAll(() => one.stop());
beforeEach(async () => {
  way = await Shipping.start(one);
});
afterEach(() => way.stop());

describe("a table that is not ours", () => {
  let current: EmbeddedEngine | undefined;
  let tables: string;

  beforeEach(async () => {
    tables = tempDir("tables");
    current = await EmbeddedEngine.start({ dataDir: tables });
    await way.writer.close();
    way.writer = new AuditWriter(() => {
      if (current === undefined) throw new Error("the embedded engine is not running");
      return current.writer;
    });
  });

  afterEach(() => current?.stop());

  /** Runs statements with all rights, as somebody does who owns the server. */
  async function alter(...statements: string[]): Promise<void> {
    const before = current;
    current = undefined;
    await before?.stop();
    const session = new Session(join(tables, "engine"));
    try {
      for (const statement of statements) session.query(statement);
    } finally {
      session.close();
    }
    current = await EmbeddedEngine.start({ dataDir: tables });
  }

  async function rows(): Promise<string> {
    const { url = "" } = current ?? {};
    const answer = await fetch(url, { method: "POST", body: "SELECT count(), uniqExact(Sequence) FROM audit_events" });
    return answer.text();
  }

  test("names the columns that are missing or of another type; younger ones are fine; it is over when it is mended", async () => {
    await alter(
      "ALTER TABLE otel_audit.audit_events DROP COLUMN ScopeVersion",
      "ALTER TABLE otel_audit.audit_events MODIFY COLUMN Duration Int64",
      "ALTER TABLE otel_audit.audit_events ADD COLUMN Younger String",
    );
    await way.addSegment();
    way.shipper.start();
    await vi.waitFor(() => expect(way.reasons()).toEqual(["schema"]), PATIENCE);
    expect(way.shipper.state).toHaveProperty(
      "reason",
      expect.stringMatching(/column ScopeVersion \(String\); column Duration is Int64, it has to be UInt64/),
    );
    await alter(
      "ALTER TABLE otel_audit.audit_events ADD COLUMN ScopeVersion String",
      "ALTER TABLE otel_audit.audit_events MODIFY COLUMN Duration UInt64",
    );
    await vi.waitFor(() => expect(way.shipper.state).toEqual({ status: "healthy" }), PATIENCE);
    expect(await rows()).toBe("3\t3\n");
    expect(way.reasons().filter((reason) => reason !== "engine_down" && reason !== "unreachable")).toEqual([
      "schema",
      "healthy",
    ]);
  });

  test("replaced while segments wait: what waits goes into the new one, once", async () => {
    const first = await way.addSegment();
    way.shipper.start();
    await vi.waitFor(() => expect(way.shipped).toEqual([first]), PATIENCE);
    const emptied = alter("DROP TABLE otel_audit.audit_events SYNC", ...schemaStatements());
    for (let i = 0; i < 3; i++) await way.addSegment();
    await emptied;
    await vi.waitFor(() => expect(way.shipped).toHaveLength(4), PATIENCE);
    expect(await rows()).toBe("9\t9\n");
  });
});
