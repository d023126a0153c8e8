import { describe, expect, it } from "vitest";
import { conditions, type RecordFilter } from "./filter.ts";

const params = (filter: RecordFilter): Readonly<Record<string, string>> => conditions(filter).params;

describe("conditions", () => {
  it("match everything without a filter", () => {
    expect(conditions({})).toEqual({ sql: "1", params: {} });
  });

  it("bind every value and write none into the SQL", () => {
    const value = "x' OR 1 = 1 --";
    const { sql, params } = conditions({ agent: value, target: value, workflow: value });
    expect(sql).not.toContain("OR 1 = 1");
    expect(params).toEqual({ agent: value, target: value, workflow: value });
  });

  it("join all parts with AND, each in parentheses", () => {
    const { sql } = conditions({ agent: "a", action: "READ", from: "2h", to: "1h" });
    const parts = sql.split("\n    AND ");
    expect(parts).toHaveLength(4);
    expect(parts.every((part) => part.startsWith("(") && part.endsWith(")"))).toBe(true);
  });

  it("turn * into LIKE's %, and mean everything else as it stands", () => {
    expect(params({ target: "**/public_*.100%\\" })).toEqual({ target: String.raw`%/public\_%.100\%\\` });
    expect(params({ target: "100%_" })).toEqual({ target: "100%_" });
  });

  it("take several words, in any case", () => {
    expect(params({ action: "update, DELETE,update" })).toEqual({ action0: "UPDATE", action1: "DELETE" });
    expect(params({ decision: "Deny", outcome: "UNKNOWN" })).toEqual({ decision0: "deny", outcome0: "unknown" });
  });

  it.each([
    [{ action: "RED" }, '--action: "RED" is not one of READ, WRITE, CREATE, UPDATE, DELETE, EXECUTE'],
    [{ action: "" }, '--action: "" is not one of READ,'],
    [{ decision: "allow,denied" }, '--decision: "denied" is not one of allow, deny, review'],
    [{ outcome: "ok" }, '--outcome: "ok" is not one of success, failure, unknown'],
    [{ trace: "abc" }, '--trace: "abc" is not a trace id'],
    [{ agent: "" }, '--agent: "" is not a name'],
    [{ target: "a\0b" }, String.raw`--target: "a\u0000b" is not a name`],
    [{ from: "2026-11-21", to: "2026-11-20" }, '--from: "2026-11-21" is not before --to "2026-11-20"'],
    [{ to: "soon" }, '--to: "soon" is neither'],
  ] as const)("refuse %j", (filter, message) => {
    expect(() => conditions(filter)).toThrow(message);
  });
});
