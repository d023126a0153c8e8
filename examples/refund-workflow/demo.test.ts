// The demo as it is, and its own check: that it can say no.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { tempDir } from "../../test/support/index.ts";
import { demo } from "./demo.ts";
import { differences, EXPECTED, type Expected } from "./expected.ts";
import type { AuditRow } from "./records.ts";

it("the demo prints the workflow's records and finds them as they should be", async () => {
  const lines: string[] = [];
  const ok = await demo(join(tempDir("demo-data"), "data"), (line) => void lines.push(line));
  const output = lines.join("\n");
  expect(ok, "the demo's own check").toBe(true);
  for (const [agent, , action, target] of EXPECTED) {
    const shown = lines.flatMap((text) => text.split("\n")).filter((line) => line.includes(target));
    expect(shown.filter((line) => line.includes(` ${agent} `) && line.includes(` ${action} `))).not.toEqual([]);
  }
  expect(output).toContain("refunds said:     I refunded order 1001");
  expect(output).toMatch(/public\.cards: denied and stopped/);
  expect(output.match(/^ {2}npx otel-audit /gm)).toHaveLength(3);
  // The picture in the README is what it prints, but for times, ports and the temporary folder.
  const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
  const picture = /```text\n([\s\S]*?)```/.exec(readme)![1]!;
  expect(alike(output)).toContain(alike(picture).trim());
});

function alike(text: string): string {
  return text
    .replaceAll(/\d{4}-\d\d-\d\d [\d:.]+/g, "TIME")
    .replaceAll(/127\.0\.0\.1:\d+/g, "HOST")
    .replaceAll(/file:\/\/\S*?(?=\/(?:kb|work)\b)/g, "file://")
    .replaceAll(/ +/g, " ");
}

/** A row as the query gives it for what is expected. */
function rowOf([agent, event, action, target, result, decision, rule, blocked]: Expected): AuditRow {
  const [Outcome = "", ErrorType = ""] = result.split(" ");
  return {
    ActorId: agent,
    OnBehalfOf: "user:4711",
    EventName: event,
    Action: action,
    TargetId: `scheme://host${target}`,
    Outcome,
    ErrorType,
    Decision: decision,
    Rule: rule,
    Blocked: blocked === "stopped",
  };
}

describe("differences", () => {
  const rows = EXPECTED.map(rowOf);
  const [first] = rows;
  if (first === undefined) throw new Error("nothing is expected");

  it("is nothing for what is expected, in any order", () => {
    expect(differences(rows)).toEqual([]);
    expect(differences(rows.toReversed())).toEqual([]);
  });

  it("names a record that is missing", () => {
    expect(differences(rows.slice(1))).toEqual([`missing:    ${EXPECTED[0]?.join(" ")}`]);
    expect(differences([])).toHaveLength(EXPECTED.length);
  });

  it("names a record too much, also a second one of the same action", () => {
    expect(differences([...rows, first])).toEqual([expect.stringMatching(/^unexpected: support tool\.call EXECUTE /)]);
  });

  it.each([
    ["ActorId", "refunds"],
    ["OnBehalfOf", "user:1"],
    ["EventName", "file.list"],
    ["Action", "WRITE"],
    ["TargetId", "scheme://host/kb/other.md"],
    ["Outcome", "failure"],
    ["ErrorType", "ENOENT"],
    ["Decision", "deny"],
    ["Rule", "default"],
    ["Blocked", true],
  ] as const)("sees another %s", (column, value) => {
    const found = differences([{ ...first, [column]: value }, ...rows.slice(1)]);
    expect(found.map((text) => text.split(":")[0])).toEqual(["missing", "unexpected"]);
  });
});
