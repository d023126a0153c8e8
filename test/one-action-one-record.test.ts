// One action is one record, on the agent that did it, in the table.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startTrail, type AuditRow, type Trail } from "./apps/trail.ts";
import { startHttpApi, startPostgres, tempDir } from "./support/index.ts";

let trail: Trail;
beforeAll(async () => {
  trail = await startTrail("one-record");
});
afterAll(() => trail[Symbol.asyncDispose]());

describe("two agents at once", () => {
  const dir = tempDir("agents");
  let rows: readonly AuditRow[];
  beforeAll(async () => {
    await using api = await startHttpApi();
    await using postgres = await startPostgres({ sql: "CREATE TABLE a_notes (n int); CREATE TABLE b_notes (n int);" });
    await trail.run("many-agents.ts", {
      service: "many-agents",
      env: { API: api.url, DATABASE: postgres.url, DIR: dir },
    });
    rows = await trail.records("many-agents");
  });

  /** How many records of each kind every agent has; every one of them names a target of that agent's own. */
  function counts(kind: RegExp): Record<string, number> {
    const found: Record<string, number> = {};
    for (const row of rows) {
      const owner = kind.exec(row.TargetId)?.groups?.["owner"];
      if (owner === undefined) continue;
      const key = `${row.Action} of ${owner} by ${row.ActorId}: ${row.Outcome}`;
      found[key] = (found[key] ?? 0) + 1;
    }
    return found;
  }

  it("over a pool of one connection: no record on the wrong agent", () => {
    expect(counts(/\/public\.(?<owner>[ab])_notes$/)).toEqual({
      "READ of a by a: success": 50,
      "READ of b by b: success": 50,
      "UPDATE of a by a: success": 50,
      "UPDATE of b by b: success": 50,
      "DELETE of a by a: success": 50,
      "DELETE of b by b: success": 50,
    });
  });

  it.each(["fetch", "undici", "http"])("by %s under load", (way) => {
    expect(counts(new RegExp(`/${way}/(?<owner>[ab])/\\d+$`))).toEqual({
      "READ of a by a: success": 50,
      "READ of b by b: success": 50,
    });
    const targets = rows.map(({ TargetId }) => TargetId).filter((id) => id.includes(`/${way}/`));
    expect(new Set(targets).size).toBe(100);
  });

  it("by fs.promises", () => {
    expect(counts(/\/(?<owner>[ab])-\d+(?:\.moved)?$/)).toEqual({
      "WRITE of a by a: success": 50,
      "WRITE of b by b: success": 50,
      "UPDATE of a by a: success": 50,
      "UPDATE of b by b: success": 50,
      "READ of a by a: success": 50,
      "READ of b by b: success": 50,
    });
  });

  it("and there is nothing else of them", () => {
    expect(rows.filter(({ ActorId }) => ActorId === "a" || ActorId === "b")).toHaveLength(2 * 50 * (3 + 3 + 3));
  });
});

describe("actions inside of others", () => {
  const dir = tempDir("nested");
  let rows: readonly AuditRow[];
  let names: readonly string[];
  beforeAll(async () => {
    names = await trail.run<string[]>("nested-actions.ts", { service: "nested", env: { DIR: dir } });
    rows = await trail.records("nested");
  });

  const short = (id: string): string => id.replace(`file://${dir}/`, "");
  const recordsOf = (name: string): string[] =>
    rows
      .filter(({ ActorId }) => ActorId === name)
      .map((row) => {
        const sides = [row.ReadTargets, row.WriteTargets].map((ids) => ids.map(short).join(","));
        return [row.EventName, row.Outcome, short(row.TargetId), ...(sides.join("") === "" ? [] : [sides.join(" > ")])]
          .join(" ")
          .trim();
      });

  it.each([
    ["writeFileSync", "file.write success f"],
    ["writeFile callback", "file.write success f"],
    ["writeFile promise", "file.write success f"],
    ["appendFileSync", "file.write success f"],
    ["readFileSync", "file.read success f"],
    ["readFile promise", "file.read success f"],
    ["file handle", "file.write success f"],
    ["descriptor", "file.write success f"],
    ["write stream", "file.write success s"],
    ["read stream", "file.read success s"],
    ["copyFileSync", "file.copy success copy f > copy"],
    ["copyFile callback", "file.copy success copy f > copy"],
    ["copyFile promise", "file.copy success copy f > copy"],
    ["mkdir recursive", "file.create success tree/deep/deeper"],
    ["write below", "file.write success tree/deep/deeper/f"],
    ["cp recursive", "file.copy success forest tree > forest"],
    ["renameSync", "file.rename success copy copy > copy,moved"],
    ["rename promise", "file.rename success moved moved > moved,copy"],
    ["rm recursive", "file.delete success forest"],
    ["rmSync", "file.delete success tree"],
  ])("%s is one record", (name, record) => {
    expect(recordsOf(name)).toEqual([record]);
  });

  it("loading a module is none, and nothing was left out of this list", () => {
    expect(recordsOf("module loading")).toEqual([]);
    expect(rows.map(({ ActorId }) => ActorId)).toEqual(names.filter((name) => name !== "module loading"));
  });
});
