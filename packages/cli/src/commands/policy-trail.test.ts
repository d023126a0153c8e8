import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { EmbeddedEngine } from "@otel-audit/exporter-clickhouse";
import { tempDir } from "../../../../test/support/index.ts";
import { otelAudit, type Ended } from "../testing/command.ts";
import { engineWith, type TableRow } from "../testing/engine.ts";

const dir = tempDir("trail");
let engine: EmbeddedEngine;

/** A record of an allowed READ by `support`, unless told otherwise. */
function row(values: TableRow): TableRow {
  return {
    ActorId: "support",
    ActorType: "agent",
    OnBehalfOf: "user:1",
    EventName: "file.read",
    Action: "READ",
    Outcome: "success",
    TargetType: "file",
    PolicyDecision: "allow",
    PolicyRule: "default",
    Origin: "effect",
    ...values,
  };
}
const table = (name: string): string => `postgresql://db/app/public.${name}`;
const ROWS: readonly TableRow[] = [
  ...["a", "b", "c", "a"].map((name) => row({ TargetId: `file:///srv/kb/${name}.md` })),
  row({ TargetId: "file:///srv/kb/gone.md", Outcome: "failure", ErrorType: "ENOENT" }),
  row({ TargetId: "file:///srv/app/.env", ActorId: "loader" }),
  row({
    EventName: "db.statement",
    Action: "WRITE",
    TargetType: "database.table",
    TargetId: table("log"),
    ReadTargets: [table("orders")],
    WriteTargets: [table("log")],
  }),
  // A resource said that this POST is a READ.
  row({
    EventName: "http.request",
    TargetType: "http.endpoint",
    TargetId: "https://llm.internal/v1/chat/1001",
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a map of the table
    SpanAttributes: { "http.request.method": "POST" } as unknown as string,
  }),
  row({
    TargetId: "file:///srv/secret/plan",
    PolicyDecision: "deny",
    PolicyRule: "no-plans",
    Outcome: "failure",
    ErrorType: "policy_denied",
  }),
  row({ TargetId: "file:///srv/secret/ran", PolicyDecision: "deny", PolicyRule: "default" }),
  row({ TargetId: "file:///srv/case/1", PolicyDecision: "review", PolicyRule: "ask" }),
  row({
    TargetId: "file:///srv/case/2",
    PolicyDecision: "review",
    PolicyRule: "ask",
    Outcome: "failure",
    ErrorType: "policy_denied",
  }),
  row({ TargetId: "file:///srv/x", Action: "BOGUS" }),
  row({ ActorId: "evil", TargetId: "file:///srv/\n\x1b[2Jall is well", Timestamp: "2018-01-01 00:00:00" }),
  row({ ActorId: "planner", TargetId: "file:///srv/old", Timestamp: "2020-01-01 00:00:00", PolicyDecision: "" }),
  row({
    ActorId: "system:otel-audit",
    ActorType: "system",
    EventName: "process.start",
    TargetType: "process",
    TargetId: "process:1",
  }),
];

beforeAll(async () => {
  engine = await engineWith(dir, ROWS);
});
afterAll(() => engine.stop());

const policy = (...args: string[]): Promise<Ended> =>
  otelAudit.with({ cwd: dir }, "policy", ...args, "--url", engine.url);
describe("policy learn", () => {
  it("writes a policy that check finds nothing wrong with, and by which nothing that passed would be denied", async () => {
    const { code, stdout, stderr } = await policy("learn");
    expect(code).toBe(0);
    expect(stderr).toBe("otel-audit: 6 rules learned from 10 records; 5 records not learned, see the end of it\n");
    expect(stdout).toContain('kb: { file: "/srv/kb/*.md" }');
    expect(stdout).toContain('llm.internal: { http: "https://llm.internal/v1/chat/*" }');
    expect(stdout).toContain('secrets: { file: "/srv/app/.env" }');
    expect(stdout).toMatch(/action: WRITE\s+resource: llm\.internal/);
    expect(stdout.slice(stdout.indexOf("# Not learned"))).toBe(String.raw`# Not learned:
#   evil: READ file:///srv/\u000a\u001b[2Jall is well: no pattern can name the file "/srv/\n\u001b[2Jall is well" (1 record)
#   support: BOGUS file:///srv/x: unknown action "BOGUS" (1 record)
#   support: READ file:///srv/case/2: stopped by rule ask (1 record)
#   support: READ file:///srv/secret/plan: rule no-plans denied it (1 record)
#   support: READ file:///srv/secret/ran: no rule allowed it (1 record)
`);
    const file = join(dir, "learned.yaml");
    writeFileSync(file, stdout);
    const check = await otelAudit("policy", "check", "--strict", file);
    expect(check.stdout).toBe(`${file}: policy "learned", mode observe, 6 rules: fine\n`);
    const test = await policy("test", "--trail", "2020-01-01", "--policy", "learned.yaml");
    // The one that is in no vocabulary was never judged by this policy.
    expect(test.stdout).toContain("  allow (default) -> deny (policy_error): 1 record\n");
    expect(test.stdout).toContain("; 1 that passed would be denied\n");
    expect(test.code).toBe(1);
  });

  it("learns from a part, names the policy, writes a new file and never over one that is there", async () => {
    const args = [
      "learn",
      "--agent",
      "planner",
      "--from",
      "2019-12-31",
      "--to",
      "2020-01-02",
      "--id",
      "plan",
      "--default",
      "review",
    ];
    const written = await policy(...args, "--output", "plan.yaml", "--json");
    expect(JSON.parse(written.stdout)).toMatchObject({
      policy: { id: "plan", rules: ["planner-read"] },
      records: 1,
      unlearned: [],
    });
    const text = readFileSync(join(dir, "plan.yaml"), "utf8");
    expect(text).toBe((await policy(...args)).stdout);
    expect(text).toContain("\ndefault: review\n");
    const again = await policy(...args, "--output", "plan.yaml");
    expect(again).toMatchObject({
      code: 2,
      stdout: "",
      stderr: 'otel-audit: --output: cannot write "plan.yaml": it is there already, and is not written over\n',
    });
  });

  it.each([
    [["--agent", "nobody-here"], "there is nothing to learn from: no record fits"],
    [["--target", "x"], "unknown option"],
    [["--default", "allow"], "deny, review"],
    [["--id", "no id"], `--id: the policy's id "no id"`],
    [["--last", "soon"], '--last: "soon" is neither a time'],
    [["--last", "1d", "--from", "2d"], "cannot be used with option"],
    [["--output", "no/such/dir.yaml"], '--output: cannot write "no/such/dir.yaml": no such file or directory'],
  ])("refuses %j", async (args, message) => {
    const { code, stdout, stderr } = await policy("learn", ...args);
    expect(stderr).toContain(message);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  });
});

const OPEN = "policy: open\nmode: observe\ndefault: allow\n";
function write(name: string, text: string): string {
  writeFileSync(join(dir, name), text);
  return name;
}

describe("policy test --trail", () => {
  it("shows rule by rule what would change, the worst first, and ends with 1 when something that passed would be denied", async () => {
    const file = write(
      "new.yaml",
      `${OPEN}resources: { kb: { file: "/srv/kb/**" }, orders: { db: "**/public.orders" }, llm: { http: "https://llm.internal/**" } }
rules:
  - { id: no-kb, deny: { resource: kb } }
  - { id: no-orders, deny: { action: READ, resource: orders } }
  - { id: ask-model, review: { action: WRITE, resource: llm } }
`,
    );
    const { code, stdout } = await policy("test", "--trail", "2021-01-01", "--policy", file, "--agent", "support");
    expect(stdout).toBe(`  allow (default) -> deny (no-kb): 5 records
      support for user:1: READ file:///srv/kb/a.md, 2 times
      support for user:1: READ file:///srv/kb/b.md
      support for user:1: READ file:///srv/kb/c.md
      and 1 more
  allow (default) -> deny (no-orders): 1 record
      support for user:1: WRITE ${table("log")} and ${table("orders")}
  allow (default) -> deny (policy_error): 1 record
      support for user:1: BOGUS file:///srv/x
  allow (default) -> review (ask-model): 1 record
      support for user:1: WRITE https://llm.internal/v1/chat/1001
  review (ask) -> allow (default): 2 records
      support for user:1: READ file:///srv/case/1
      support for user:1: READ file:///srv/case/2
  deny (default) -> allow (default): 1 record
      support for user:1: READ file:///srv/secret/ran
  deny (no-plans) -> allow (default): 1 record
      support for user:1: READ file:///srv/secret/plan
new.yaml: policy "open", mode observe: 12 records, 12 would change; 7 that passed would be denied; 1 that passed would be reviewed
`);
    expect(code).toBe(1);
  });

  it("lets a record neither act on the terminal nor look like a line of ours", async () => {
    const file = write("deny.yaml", "policy: d\nmode: observe\ndefault: deny\n");
    const { stdout } = await policy("test", "--trail", "2018-01-01", "--agent", "evil", "--policy", file);
    expect(stdout).toContain(String.raw`      evil for user:1: READ file:///srv/\x0a\x1b[2Jall is well`);
    const learned = await policy("learn", "--agent", "evil");
    expect(learned).toMatchObject({ code: 2, stdout: "" });
    expect(learned.stderr).toContain("none can be learned, the first: no pattern can name the file");
  });

  it("ends with 0 when nothing would be denied, with --strict only when nothing would be reviewed either", async () => {
    const file = write("review.yaml", "policy: r\nmode: enforce\ndefault: review\n");
    const args = ["test", "--trail", "2019-01-01", "--agent", "planner", "--policy", file];
    expect((await policy(...args)).code).toBe(0);
    const strict = await policy(...args, "--strict", "--json");
    expect(strict.code).toBe(1);
    expect(JSON.parse(strict.stdout)).toMatchObject({
      ok: false,
      policy: { id: "r", mode: "enforce" },
      records: 1,
      unchanged: 0,
      newlyDenied: 0,
      newlyReviewed: 1,
      changes: [
        {
          from: { decision: "", rule: "default" },
          to: { decision: "review", rule: "default" },
          records: 1,
          examples: [{ agent: "planner", action: "READ", targets: ["file:///srv/old"], onBehalfOf: "user:1" }],
        },
      ],
    });
  });

  it.each([
    [["--trail", "7d", "cases.yaml"], '--trail: records are tested instead of cases, so "cases.yaml" has no use'],
    [["--trail", "soon"], '--trail: "soon" is neither a time'],
    [["--trail", "7d", "--policy", "nosuch.yaml"], '--policy: cannot read "nosuch.yaml": no such file or directory'],
    [["--trail", "7d"], "--policy: no policy is on record either"],
    [["--trail", "7d", "--agent", "x", "--policy", "OPEN"], '--trail: there are no records since "7d" that fit'],
    [[], "give a file of cases, or --trail TIME"],
    [["cases.yaml", "--agent", "x"], "it is about records, and has no use without --trail"],
  ])("refuses %j", async (args, message) => {
    write("OPEN", OPEN);
    const { code, stdout, stderr } = await policy("test", ...args);
    expect(stderr).toContain(message);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  });
});
