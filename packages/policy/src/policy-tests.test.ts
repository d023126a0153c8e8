import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, it } from "vitest";
import { PolicyError } from "./error.ts";
import { Policy } from "./policy.ts";
import { runPolicyTests } from "./policy-tests.ts";

const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");

/** The README's code blocks that carry a name in their info string. */
function snippet(name: string): string {
  const match = new RegExp(`\`\`\`yaml ${name}\\n([^]*?)\`\`\``).exec(readme);
  if (match?.[1] === undefined) {
    throw new Error(`the README has no snippet ${name}`);
  }
  return match[1];
}

const POLICY = `policy: p
mode: observe
default: review
resources: { kb: { file: "/srv/kb/**" } }
rules:
  - { id: reads, allow: { action: READ, resource: kb } }
  - { id: no-users, mode: enforce, deny: { actor_type: user } }
  - { id: never, deny: { agent: nobody } }
`;
const policy = Policy.parse(POLICY);

function failure(run: () => unknown): PolicyError {
  try {
    run();
  } catch (error) {
    if (error instanceof PolicyError) {
      return error;
    }
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe("policy tests", () => {
  it("compare decision, rule, enforcement and resource", () => {
    const result = runPolicyTests(
      `cases:
  - { name: good, agent: x, event: file.read, action: READ, target: /srv/kb/a, expect: allow, rule: reads, resource: kb }
  - { name: bad, agent: x, actor_type: user, event: file.read, action: READ, target: /etc/x, expect: allow, rule: reads, enforcement: observed, resource: kb }
  - { name: other, agent: x, event: db.statement, action: READ, targets: ["postgresql://h/db/s.t", { id: "postgresql://h/db", access: read }], expect: review, rule: default }
`,
      { policy },
    );
    expect(result.passed).toBe(false);
    expect(result.cases.map(({ name, passed, line }) => `${line} ${name} ${passed}`)).toEqual([
      "2 good true",
      "3 bad false",
      "4 other true",
    ]);
    expect(result.cases[1]?.differences).toEqual([
      { field: "decision", expected: "allow", actual: "deny" },
      { field: "rule", expected: "reads", actual: "no-users" },
      { field: "enforcement", expected: "observed", actual: "enforced" },
      { field: "resource", expected: "kb", actual: "none" },
    ]);
    expect(result.undecidedRules).toEqual(["never"]);
  });

  it("read the policy that the file names", () => {
    const text =
      "policy: p.yaml\nmode: enforce\ncases: [{ name: a, agent: x, event: e, action: READ, expect: review, enforcement: enforced }]";
    const result = runPolicyTests(text, {
      readPolicy: (path) => {
        expect(path).toBe("p.yaml");
        return POLICY;
      },
    });
    expect(result.passed).toBe(true);
    const missing = failure(() =>
      runPolicyTests(text, {
        file: "t.yaml",
        readPolicy: () => {
          throw new Error("ENOENT");
        },
      }),
    );
    expect(missing).toMatchObject({
      code: "UNREADABLE",
      message: 't.yaml:1:9: policy: cannot read the policy "p.yaml": ENOENT',
    });
    expect(missing.cause).toBeInstanceOf(Error);
    expect(failure(() => runPolicyTests(text)).code).toBe("UNREADABLE");
    // A broken policy names its own file.
    expect(failure(() => runPolicyTests(text, { readPolicy: () => "x: 1" })).file).toBe("p.yaml");
  });

  it("judge in the mode that the file names, also with a policy from elsewhere", () => {
    const text =
      "mode: enforce\ncases: [{ name: a, agent: x, event: e, action: READ, expect: review, enforcement: enforced }]";
    const result = runPolicyTests(text, { policy });
    expect(result.cases[0]?.differences).toEqual([]);
    expect(result.policy.mode).toBe("enforce");
    expect(policy.mode).toBe("observe");
  });

  it.each([
    ["cases: []", "INVALID_VALUE", "cases: has no case, got []"],
    ["cases: [{ name: a, event: e, action: READ }]", "MISSING_KEY", 'cases[0].expect: the key "expect" is missing'],
    [
      "cases: [{ name: a, event: e, action: READ, expects: deny, expect: deny }]",
      "UNKNOWN_KEY",
      'unknown key "expects", did you mean "expect"?',
    ],
    ["cases: [{ name: a, event: e, action: READ, expect: allowed }]", "INVALID_VALUE", 'did you mean "allow"?'],
    [
      "cases: [{ name: a, event: e, action: READ, expect: deny, rule: read }]",
      "INVALID_VALUE",
      'the policy has no rule "read", did you mean "reads"?',
    ],
    [
      "cases: [{ name: a, event: e, action: READ, expect: deny, target: x }]",
      "INVALID_VALUE",
      'the type of the target "x" is not clear',
    ],
    [
      "cases: [{ name: a, event: e, action: READ, expect: deny, target: { type: table, id: x } }]",
      "INVALID_VALUE",
      '"table" is not one of',
    ],
    [
      "cases: [{ name: a, event: e, action: READ, expect: deny, target: /a, targets: [/b] }]",
      "INVALID_VALUE",
      "exclude each other",
    ],
    [
      "cases: [{ name: a, event: e, action: BOGUS, expect: deny }]",
      "INVALID_VALUE",
      'cases[0].action: "BOGUS" is not one of READ, WRITE, CREATE, UPDATE, DELETE, EXECUTE',
    ],
    [
      "cases: [{ name: a, event: e, action: READ, expect: deny, actor_type: robot }]",
      "INVALID_VALUE",
      '"robot" is not one of agent, user, service, system',
    ],
  ])("refuse %s", (text, code, message) => {
    const error = failure(() => runPolicyTests(text, { policy }));
    expect(error.message).toContain(message);
    expect(error.code).toBe(code);
  });

  it("need a policy", () => {
    const error = failure(() => runPolicyTests("cases: [{ name: a, event: e, action: READ, expect: deny }]"));
    expect(error).toMatchObject({ code: "MISSING_KEY", path: "policy" });
  });
});

describe("the README", () => {
  it("has a policy without warnings and tests that pass", () => {
    const result = runPolicyTests(snippet("support.test.yaml"), {
      file: "support.test.yaml",
      readPolicy: (path) => snippet(path),
    });
    expect(result.cases.filter((each) => !each.passed)).toEqual([]);
    expect(result.undecidedRules).toEqual([]);
    expect(result.policy.warnings).toEqual([]);
  });

  it("has an example of code that runs", async () => {
    const code = /```ts\n([^]*?)```/.exec(readme)?.[1] ?? "";
    const folder = await mkdtemp(join(tmpdir(), "policy-readme-"));
    try {
      const source = code.replace('"@otel-audit/policy"', JSON.stringify(new URL("policy.ts", import.meta.url).href));
      await writeFile(
        join(folder, "example.ts"),
        `const text = ${JSON.stringify(snippet("support.yaml"))};\n${source}\nexport { verdict };\n`,
      );
      const example: unknown = await import(pathToFileURL(join(folder, "example.ts")).href);
      expect(example).toMatchObject({ verdict: { decision: "deny", ruleId: "no-cards", targetName: "cards" } });
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it("shows the message of an error as it is", () => {
    const example = /```text\n([^]*?)```/.exec(readme)?.[1]?.trim() ?? "";
    const text = snippet("support.yaml").replace("{ resource: cards }", "{ resorce: cards }");
    expect(failure(() => Policy.parse(text, { file: "support.yaml" })).message).toBe(example);
  });
});
