import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { tempDir } from "../../../../test/support/index.ts";
import { otelAudit } from "../testing/command.ts";

const POLICY = `policy: support
mode: enforce
default: review
resources:
  orders: { db: "db.internal/app/public.orders" }
  cards:  { db: "**/public.cards" }
rules:
  - { id: lookup,   allow: { agent: "support-*", action: READ, resource: orders } }
  - { id: no-cards, deny:  { resource: cards } }
`;
const CASES = `policy: support.yaml
cases:
  - name: reads an order
    agent: support-1
    event: db.statement
    action: READ
    target: postgresql://db.internal/app/public.orders
    expect: allow
    rule: lookup
  - name: nobody reads cards
    agent: support-1
    event: db.statement
    action: READ
    target: postgresql://db.internal/app/public.cards
    expect: deny
    enforcement: enforced
`;

const dir = tempDir("policy");
function write(name: string, text: string): string {
  const file = join(dir, name);
  writeFileSync(file, text);
  return file;
}
const policy = write("support.yaml", POLICY);
const cases = write("tests.yaml", CASES);

describe("policy check", () => {
  it("has nothing to say about a good policy", async () => {
    expect(await otelAudit("policy", "check", policy)).toEqual({
      code: 0,
      stdout: `${policy}: policy "support", mode enforce, 2 rules: fine\n`,
      stderr: "",
    });
  });

  it("names file, line, column and path of every error, and ends with 1", async () => {
    const file = write(
      "bad.yaml",
      POLICY.replace("resource: cards", "resorce: cards").replace("mode: enforce", "mode: strict"),
    );
    const { code, stdout } = await otelAudit("policy", "check", file);
    const lines = stdout.trimEnd().split("\n");
    expect(lines[0]).toMatch(/bad\.yaml:2:\d+: error: mode: .*"strict"/);
    expect(lines[1]).toMatch(/bad\.yaml:9:\d+: error: rules\[1\]\.deny\.resorce: .*did you mean "resource"\?/);
    expect(lines[2]).toMatch(/2 errors; this policy cannot be used$/);
    expect(code).toBe(1);
  });

  it("warns of rules that can do nothing, which --strict takes for a no", async () => {
    const file = write("dead.yaml", `${POLICY}  - { id: dead, allow: { resource: cards } }\n`);
    const { code, stdout } = await otelAudit("policy", "check", file);
    expect(stdout).toMatch(/dead\.yaml:10:\d+: warning: rules\[2\]\S*: /);
    expect(stdout).toMatch(/3 rules: 1 warning\n$/);
    expect(code).toBe(0);
    expect((await otelAudit("policy", "check", "--strict", file)).code).toBe(1);
  });

  it("tells machines the same as JSON", async () => {
    const good = await otelAudit("policy", "check", "--json", policy);
    expect(JSON.parse(good.stdout)).toEqual({
      ok: true,
      file: policy,
      policy: {
        id: "support",
        version: expect.stringMatching(/^sha256:[0-9a-f]{64}$/),
        mode: "enforce",
        rules: ["lookup", "no-cards"],
      },
      errors: [],
      warnings: [],
    });
    const bad = await otelAudit("policy", "check", "--json", write("broken.yaml", "policy: [\n"));
    expect(JSON.parse(bad.stdout)).toMatchObject({
      ok: false,
      errors: [{ line: expect.any(Number), column: expect.any(Number), message: expect.any(String) }],
    });
    expect(bad.code).toBe(1);
  });

  it("lets a hostile policy do nothing to the terminal", async () => {
    const { stdout, code } = await otelAudit(
      "policy",
      "check",
      write("evil.yaml", 'policy: "\\e]0;owned\\a"\n"\\e[2J": 1\n'),
    );
    expect(stdout).toContain("error");
    expect(stdout).not.toContain("\x1b");
    expect(code).toBe(1);
  });
});

describe("policy test", () => {
  it("runs the cases against the policy beside them", async () => {
    expect(await otelAudit("policy", "test", cases)).toEqual({
      code: 0,
      stdout: `  ok    reads an order\n  ok    nobody reads cards\n${cases}: policy "support", mode enforce: 2 cases passed\n`,
      stderr: "",
    });
  });

  it("shows what a failed case expected and got, where it is and why, and ends with 1", async () => {
    const file = write("failing.yaml", CASES.replace("expect: deny", "expect: allow"));
    const { code, stdout } = await otelAudit("policy", "test", file);
    expect(stdout).toMatch(
      /^ {2}ok {4}reads an order\n {2}FAIL {2}nobody reads cards \(.*failing\.yaml:10:\d+\)\n {10}decision: expected allow, got deny\n {10}because of rule no-cards: .*\n.*: 1 of 2 cases failed\n$/,
    );
    expect(code).toBe(1);
  });

  it("takes another policy by --policy, and needs one", async () => {
    const nameless = write("nameless.yaml", CASES.replace(/^policy: .*\n/, ""));
    const missing = await otelAudit("policy", "test", nameless);
    expect(missing.stderr).toMatch(/nameless\.yaml:1:1: policy: the key "policy" is missing/);
    expect(missing.code).toBe(2);
    expect((await otelAudit("policy", "test", nameless, "--policy", policy)).code).toBe(0);
    const open = write(
      "open.yaml",
      "policy: open\nmode: observe\ndefault: allow\nrules:\n  - { id: lookup, allow: { action: READ } }\n",
    );
    const { code, stdout } = await otelAudit("policy", "test", cases, "--policy", open);
    expect(stdout).toContain("decision: expected deny, got allow");
    expect(code).toBe(1);
  });

  it.each([
    ["cases: []\n", /no case/],
    [
      "policy: nosuch.yaml\n" + CASES.slice(CASES.indexOf("cases:")),
      /cannot read the policy "nosuch.yaml": no such file or directory/,
    ],
    [CASES.replace("expect: allow", "expect: allowed"), /expect: .*"allowed"/],
    [CASES.replace("rule: lookup", "rule: lokup"), /no rule "lokup", did you mean "lookup"\?/],
    ["{", /.yaml:\d+:\d+: /],
  ])("cannot use %j: exit code 2", async (text, message) => {
    const { code, stdout, stderr } = await otelAudit("policy", "test", write("unusable.yaml", text));
    expect(stderr).toMatch(message);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  });

  it("tells machines the same as JSON", async () => {
    const { stdout, code } = await otelAudit("policy", "test", "--json", cases);
    expect(JSON.parse(stdout)).toMatchObject({
      ok: true,
      policy: { id: "support", mode: "enforce" },
      cases: [
        { name: "reads an order", passed: true, verdict: { ruleId: "lookup" } },
        { name: "nobody reads cards", passed: true },
      ],
      undecidedRules: [],
    });
    expect(code).toBe(0);
  });
});
