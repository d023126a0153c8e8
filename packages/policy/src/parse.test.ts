import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PolicyError } from "./error.ts";
import { Policy } from "./policy.ts";

const HEAD = "policy: p\nmode: observe\ndefault: deny\n";

function failure(text: string): PolicyError {
  try {
    Policy.parse(text, { file: "p.yaml" });
  } catch (error) {
    if (error instanceof PolicyError) {
      return error;
    }
    throw error;
  }
  throw new Error("the document was accepted");
}

/** Throws for anything but a PolicyError with a place in the text. */
function accepts(text: string): boolean {
  try {
    Policy.parse(text);
    return true;
  } catch (error) {
    if (error instanceof PolicyError && error.line >= 1 && error.column >= 1 && error.issues.length > 0) {
      return false;
    }
    throw error;
  }
}

describe("faults", () => {
  it.each([
    ["", "INVALID_VALUE", "p.yaml:1:1: has to be a mapping, got nothing"],
    ["- 1", "INVALID_VALUE", "p.yaml:1:1: has to be a mapping, got [1]"],
    ["mode: observe\ndefault: deny\n", "MISSING_KEY", 'p.yaml:1:1: policy: the key "policy" is missing'],
    [
      "policy: p\nmode: watch\ndefault: deny\n",
      "INVALID_VALUE",
      'p.yaml:2:7: mode: "watch" is not one of observe, enforce',
    ],
    [
      "policy: p\nmode: enforced\ndefault: deny\n",
      "INVALID_VALUE",
      'p.yaml:2:7: mode: "enforced" is not one of observe, enforce, did you mean "enforce"?',
    ],
    [`${HEAD}polcy: x\n`, "UNKNOWN_KEY", 'p.yaml:4:1: polcy: unknown key "polcy", did you mean "policy"?'],
    [
      `${HEAD}rules:\n  - id: a\n    deny: { resorce: b }\n`,
      "UNKNOWN_KEY",
      'p.yaml:6:13: rules[0].deny.resorce: unknown key "resorce", did you mean "resource"?',
    ],
    [
      `${HEAD}rules: [{ id: a, deny: { xyzzy: b } }]\n`,
      "UNKNOWN_KEY",
      'p.yaml:4:26: rules[0].deny.xyzzy: unknown key "xyzzy"; known are agent, actor_type, actor_chain, on_behalf_of, workflow, tool, event, action, resource',
    ],
    [
      "policy: p\nmode: observe\ndefault: allow\nrules: [{ id: r, durable: yes, allow: {} }]",
      "INVALID_VALUE",
      'p.yaml:4:27: rules[0].durable: has to be true or false, got "yes"',
    ],
    [
      `${HEAD}rules: [{ id: a, deny: { event: { nto: b } } }]\n`,
      "INVALID_VALUE",
      "p.yaml:4:33: rules[0].deny.event.not: has to be a text or a list of texts, got nothing",
    ],
    [
      `${HEAD}rules: [{ id: a, deny: { on_behalf_of: 4711 } }]\n`,
      "INVALID_VALUE",
      "p.yaml:4:40: rules[0].deny.on_behalf_of: has to be a text, a list of texts, or { not: … }, got 4711 (a text needs quotes)",
    ],
    [
      `${HEAD}rules: [{ id: a, deny: { agent: ~ } }]\n`,
      "INVALID_VALUE",
      "p.yaml:4:33: rules[0].deny.agent: has to be a text, a list of texts, or { not: … }, got nothing",
    ],
    [
      `${HEAD}rules: [{ id: a, deny: { agent: [] } }]\n`,
      "INVALID_VALUE",
      "p.yaml:4:33: rules[0].deny.agent: the list must not be empty, got []",
    ],
    [
      `${HEAD}rules: [{ id: a, deny: { action: REED } }]\n`,
      "INVALID_VALUE",
      'p.yaml:4:34: rules[0].deny.action: "REED" is not one of READ, WRITE, CREATE, UPDATE, DELETE, EXECUTE, did you mean "READ"?',
    ],
    [
      `${HEAD}rules: [{ id: a, deny: { action: none } }]\n`,
      "INVALID_VALUE",
      'p.yaml:4:34: rules[0].deny.action: "none" can never be: every action has action',
    ],
    [
      `${HEAD}rules: [{ id: a }]\n`,
      "MISSING_KEY",
      'p.yaml:4:9: rules[0]: the rule "a" needs one of allow, deny, review, got none',
    ],
    [
      `${HEAD}rules: [{ id: a, allow: {}, deny: {} }]\n`,
      "INVALID_VALUE",
      'p.yaml:4:9: rules[0]: the rule "a" needs one of allow, deny, review, got allow and deny',
    ],
    [
      `${HEAD}rules:\n  - { id: a, deny: {} }\n  - { id: a, allow: {} }\n`,
      "DUPLICATE_RULE",
      'p.yaml:6:11: rules[1].id: the rule id "a" is already used by rules[0]',
    ],
    [
      `${HEAD}rules: [{ id: default, deny: {} }]\n`,
      "INVALID_VALUE",
      'p.yaml:4:15: rules[0].id: the rule id "default" is reserved for verdicts without a rule',
    ],
    [
      `${HEAD}resources: { cards: { db: "**/cards" } }\nrules:\n  - { id: a, deny: { resource: [card] } }\n`,
      "UNKNOWN_RESOURCE",
      'p.yaml:6:33: rules[0].deny.resource[0]: unknown resource "card", did you mean "cards"?',
    ],
    [
      `${HEAD}rules: [{ id: a, deny: { resource: "@secret" } }]\n`,
      "UNKNOWN_RESOURCE",
      'p.yaml:4:36: rules[0].deny.resource: unknown resource "@secret", did you mean "@secrets"?',
    ],
    [`${HEAD}mode: enforce\n`, "DUPLICATE_KEY", 'p.yaml:4:1: mode: the key "mode" is there twice'],
    [
      `${HEAD}resources: { "@llm": { http: "**" } }\n`,
      "INVALID_VALUE",
      `p.yaml:4:14: resources["@llm"]: the resource name "@llm" is a built-in's name; choose one without '@'`,
    ],
    [
      `${HEAD}resources: { none: { http: "**" } }\n`,
      "INVALID_VALUE",
      'p.yaml:4:14: resources.none: the resource name "none" is the word for "no resource"; choose another name',
    ],
    [
      `${HEAD}resources: { a: {} }\n`,
      "MISSING_KEY",
      "p.yaml:4:14: resources.a: the resource has no pattern; write one of http, db, file, tool, process, socket",
    ],
    [
      `${HEAD}resources: { a: { db: "**/x", action: READ } }\n`,
      "INVALID_VALUE",
      "p.yaml:4:31: resources.a.action: the action of a statement or a file access is known; only http, tool and process may name one",
    ],
    [
      `${HEAD}resources: { __proto__: { http: "**" } }\n`,
      "UNKNOWN_KEY",
      'p.yaml:4:14: resources.__proto__: the key "__proto__" is not allowed',
    ],
    [`${HEAD}__proto__: { rules: [] }\n`, "UNKNOWN_KEY", 'p.yaml:4:1: __proto__: the key "__proto__" is not allowed'],
    [
      `${HEAD}<<: { rules: [] }\n`,
      "UNKNOWN_KEY",
      'p.yaml:4:1: ["<<"]: unknown key "<<"; known are policy, mode, default, resources, rules',
    ],
    [`${HEAD}---\npolicy: q\n`, "INVALID_YAML", "p.yaml:4:1: the text has more than one YAML document"],
    [`${HEAD}rules: !!js/function "x"\n`, "INVALID_YAML", "p.yaml:4:8: Unresolved tag: tag:yaml.org,2002:js/function"],
    [`${HEAD}rules: *nowhere\n`, "INVALID_YAML", "p.yaml:4:8: the alias *nowhere has no value of its own"],
    [`${HEAD}rules: &a [*a]\n`, "INVALID_YAML", "p.yaml:4:12: the alias *a has no value of its own"],
  ])("%j", (text, code, message) => {
    const error = failure(text);
    expect(error.message.split("\n")[0]).toBe(message);
    expect(error.code).toBe(code);
    expect(message).toContain(`p.yaml:${error.line}:${error.column}:`);
  });

  it.each([
    ["http", "pay.internal/v1/**", 'has no scheme, did you mean "https://pay.internal/v1/**"?'],
    ["http", "https://pay.internal", 'has no path, did you mean "https://pay.internal/**"?'],
    ["http", "https://u:p@pay.internal/**", "has credentials"],
    ["http", "https://pay.internal/x?a=*", "has a query or fragment"],
    ["http", "https://pay.internal/#x", "has a query or fragment"],
    ["http", "https://pay.internal/a/../b", 'has a ".." segment'],
    ["http", "https://pay internal/**", "has no valid host"],
    ["http", "https://*.bücher.example/**", "non-ASCII"],
    ["http", "https://pay.internal/[ab]", "has brackets"],
    ["db", "cards", 'did you mean "**/cards" or "cards/**"?'],
    ["file", "kb/**", 'did you mean "**/kb/**"?'],
    ["file", "~/.ssh/**", 'did you mean "**/.ssh/**"?'],
    ["file", "/srv/kb/", 'did you mean "/srv/kb/**"?'],
    ["file", "/srv//kb/**", "has an empty segment"],
    ["file", "/srv/kb**", "stand alone"],
    ["file", "!/srv/**", "negation is { not: … }"],
    ["tool", "{a", 'has "{" without "}"'],
    ["tool", "a".repeat(513), "at most 512"],
  ])("the %s pattern %s is refused: %s", (kind, pattern, message) => {
    const error = failure(`${HEAD}resources:\n  r: { ${kind}: ${JSON.stringify(pattern)} }\n`);
    expect(error.code).toBe("INVALID_PATTERN");
    expect(error).toMatchObject({ line: 5, path: `resources.r.${kind}` });
    expect(error.message).toContain(message);
  });

  it("are all reported, in the order of the document", () => {
    const error = failure("policy: p\nmode: wrong\ndefault: wrong\nrules: [{ id: 7, deny: {} }]\n");
    expect(error.issues.map(({ line, path }) => `${line} ${path}`)).toEqual(["2 mode", "3 default", "4 rules[0].id"]);
    expect(error.message.split("\n")).toHaveLength(3);
  });

  it("keep the library's error as the cause", () => {
    expect(failure(`${HEAD}rules: ${"[".repeat(50)}`).code).toBe("INVALID_YAML");
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what callers without types can do
    expect(() => Policy.parse(7 as unknown as string)).toThrow(PolicyError);
  });
});

describe("limits", () => {
  it.each([
    ["a large document", `${HEAD}# ${"x".repeat(65_536)}\n`],
    ["nested flow collections", `${HEAD}rules: ${"[".repeat(20_000)}`],
    ["nested sequences, which end the process in the library itself", `rules: ${"- ".repeat(30_000)}`],
    ["nested sequences alone", "- ".repeat(30_000)],
    ["nested keys", "? ".repeat(30_000)],
    ["nested mappings", "a: ".repeat(20_000)],
    [
      "aliases of aliases",
      `a0: &a0 [x, x]\n${Array.from({ length: 30 }, (_, i) => `a${i + 1}: &a${i + 1} [*a${i}, *a${i}]`).join("\n")}\n`,
    ],
    [
      "more patterns than are worth trying",
      `${HEAD}resources:\n${Array.from({ length: 40 }, (_, i) => `  r${i}: { tool: "${"{a,b}".repeat(7)}" }`).join("\n")}\n`,
    ],
  ])("%s", (_, text) => {
    expect(["TOO_LARGE", "INVALID_YAML"]).toContain(failure(text).code);
  });

  it("do not refuse a long policy", () => {
    const rules = Array.from(
      { length: 500 },
      (_, i) => `  - { id: rule-${i}, deny: { agent: "agent-${i}-*", action: READ } }`,
    );
    expect(Policy.parse(`${HEAD}rules:\n${rules.join("\n")}\n`).ruleIds).toHaveLength(500);
  });
});

describe("documents", () => {
  it("may use anchors, JSON, and names of Object's own properties", () => {
    const anchors = Policy.parse(
      `${HEAD}rules:\n  - { id: a, allow: { agent: &team [x, y] } }\n  - { id: b, review: { agent: *team } }\n`,
    );
    expect(anchors.ruleIds).toEqual(["a", "b"]);
    const json = Policy.parse('{"policy":"p","mode":"observe","default":"deny","rules":[]}');
    expect(json.id).toBe("p");
    const names = Policy.parse(
      `${HEAD}resources: { constructor: { file: "/a" }, toString: { file: "/b" } }\nrules: [{ id: valueOf, deny: { resource: [constructor, toString] } }]`,
    );
    const verdict = names.evaluate({
      event: "file.read",
      action: "READ",
      targets: [{ type: "file", id: "file:///a" }],
      actorId: "x",
      actorType: "agent",
    });
    expect(verdict).toMatchObject({ ruleId: "valueOf", targetName: "constructor" });
    const unknown = failure(`${HEAD}rules: [{ id: a, deny: { resource: hasOwnProperty } }]`);
    expect(unknown.code).toBe("UNKNOWN_RESOURCE");
  });

  it("may give a rule a reason of its own", () => {
    const policy = Policy.parse(`${HEAD}rules: [{ id: a, reason: "ask the owner", deny: {} }]`);
    const verdict = policy.evaluate({ event: "x", action: "READ", targets: [], actorId: "a", actorType: "agent" });
    expect(verdict.reason).toBe("ask the owner");
  });

  const words = fc.constantFrom(
    "policy",
    "mode",
    "default",
    "resources",
    "rules",
    "id",
    "allow",
    "deny",
    "review",
    "agent",
    "action",
    "resource",
    "not",
    "none",
    "observe",
    "enforce",
    "READ",
    "http",
    "db",
    "file",
    "https://a/**",
    "**",
    "{a,b}",
    "/x",
    "@llm",
    "a",
    "__proto__",
    "constructor",
    "&a",
    "*a",
    "!!str",
    "|",
    ">",
    "- ",
    ": ",
    "\n",
    "\n  ",
    "\n    - ",
    "{",
    "}",
    "[",
    "]",
    ",",
    "'",
    '"',
    "#",
    "?",
    "%YAML 1.1\n---\n",
    "\t",
    "<<",
    "~",
  );

  it("of any text give a policy or a PolicyError", () => {
    const text = fc.oneof(
      fc.string({ maxLength: 200 }),
      fc.string({ unit: "binary", maxLength: 200 }),
      fc.array(fc.oneof(words, words, fc.string({ maxLength: 4 })), { maxLength: 60 }).map((parts) => parts.join("")),
      fc.array(words, { maxLength: 20 }).map((parts) => HEAD + parts.join(" ")),
    );
    fc.assert(
      fc.property(text, (source) => {
        expect(accepts(source)).toBeTypeOf("boolean");
      }),
      { numRuns: 1500 },
    );
  });

  it("of any shape give a policy or a PolicyError", () => {
    const key = fc.oneof(
      words.map((word) => word.trim()),
      fc.string({ maxLength: 5 }),
    );
    const value = fc.letrec((tie) => ({
      any: fc.oneof(
        { maxDepth: 4 },
        words,
        fc.string(),
        fc.integer(),
        fc.boolean(),
        fc.constant(null),
        fc.array(tie("any"), { maxLength: 4 }),
        fc.dictionary(key, tie("any"), { maxKeys: 4 }),
      ),
    })).any;
    const rule = fc.record({ id: fc.oneof(words, value), deny: fc.dictionary(key, value) }, { requiredKeys: [] });
    const document = fc.record(
      {
        policy: fc.oneof(fc.constant("p"), value),
        mode: fc.oneof(fc.constant("observe"), value),
        default: fc.oneof(fc.constant("deny"), value),
        resources: fc.oneof(fc.dictionary(key, fc.dictionary(key, value)), value),
        rules: fc.oneof(fc.array(rule), value),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(document, (data) => {
        expect(accepts(JSON.stringify(data))).toBeTypeOf("boolean");
      }),
      { numRuns: 600 },
    );
  });
});
