import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { PolicyError } from "../error.ts";
import type { PolicyAction, PolicyTarget } from "../types.ts";
import { isId } from "./generalize.ts";
import { learnPolicy } from "./learn.ts";
import type { SeenAction } from "./need.ts";

type Extra = Partial<PolicyAction>;

function act(event: string, targets: readonly PolicyTarget[], extra: Extra = {}): PolicyAction {
  return { event, action: "READ", targets, actorId: "support", actorType: "agent", onBehalfOf: "user:1", ...extra };
}
const file = (path: string, extra?: Extra): PolicyAction =>
  act("file.read", [{ type: "file", id: `file://${path}` }], extra);
const remove = (path: string, recursive = false): PolicyAction =>
  act("file.delete", [{ type: "file", id: `file://${path}`, recursive }], { action: "DELETE" });
const tree = (path: string): PolicyAction => remove(path, true);
const http = (id: string, extra?: Extra): PolicyAction => act("http.request", [{ type: "http.endpoint", id }], extra);
const table = (name: string, access?: "read" | "write"): PolicyTarget => ({
  type: "database.table",
  id: `postgresql://db/app/public.${name}`,
  access,
});
const sql = (targets: readonly PolicyTarget[], extra?: Extra): PolicyAction => act("db.statement", targets, extra);
const seen = (...actions: PolicyAction[]): SeenAction[] => actions.map((action) => ({ action, count: 1 }));

/** The patterns of the document's resources, in its order. */
function patterns(text: string): string[] {
  const resources = text.slice(text.indexOf("\nresources:"), text.indexOf("\nrules:"));
  return [...resources.replaceAll(/^ {2}"[^"]+":/gm, "").matchAll(/"([^"]+)"/g)].map((match) => match[1] ?? "");
}

function learned(...actions: PolicyAction[]): string[] {
  return patterns(learnPolicy(seen(...actions)).text);
}

describe("generalisation", () => {
  it.each<[string, PolicyAction[], string[]]>([
    ["two siblings stay", [file("/srv/kb/a.md"), file("/srv/kb/b.md")], ["/srv/kb/a.md", "/srv/kb/b.md"]],
    ["three of a kind", ["a", "b", "c"].map((name) => file(`/srv/kb/${name}.md`)), ["/srv/kb/*.md"]],
    ["three of several kinds", ["a.md", "b.txt", "c"].map((name) => file(`/srv/kb/${name}`)), ["/srv/kb/*"]],
    [
      "a root stays as it is",
      ["a.md", "b.md", "c.md"].map((name) => file(`/etc/${name}`)),
      ["/etc/a.md", "/etc/b.md", "/etc/c.md"],
    ],
    ["folders that hold the same", [1, 2, 3].map((n) => file(`/srv/cases/${n}/note.md`)), ["/srv/cases/*/note.md"]],
    [
      "folders that do not",
      [1, 2, 3].map((n) => file(`/srv/cases/${n}/${n}.md`)),
      [1, 2, 3].map((n) => `/srv/cases/${n}/${n}.md`),
    ],
    ["too many below one folder", Array.from({ length: 33 }, (_, n) => file(`/srv/kb/${n}/${n}`)), ["/srv/kb/**"]],
    [
      "what is written is not what is read",
      [...["a", "b", "c"].map((name) => file(`/srv/kb/${name}`)), file("/srv/kb/a", { action: "UPDATE" })],
      ["/srv/kb/*", "/srv/kb/a"],
    ],
    [
      "ids in addresses",
      [http("https://h/v1/orders/1001/items"), http("https://h/v1/c/0b7e6c1a-9d2f-4e1c-8a44-5f0d6f1b2c3d")],
      ["https://h/v1/c/*", "https://h/v1/orders/*/items"],
    ],
    ["an id is no wildcard for a host", [http("https://h/1001")], ["https://h/1001"]],
    [
      "hosts are never one",
      ["a", "b", "c"].map((name) => http(`https://${name}.internal/v1`)),
      ["https://a.internal/v1", "https://b.internal/v1", "https://c.internal/v1"],
    ],
    ["addresses beside each other", ["a", "b", "c"].map((name) => http(`https://h/v1/${name}`)), ["https://h/v1/*"]],
    [
      "tables are named",
      ["a", "b", "c"].map((name) => sql([table(name)])),
      ["postgresql://db/app/public.a", "postgresql://db/app/public.b", "postgresql://db/app/public.c"],
    ],
    [
      "credentials are named",
      ["a.key", "b.key", "c.key", ".env"].map((name) => file(`/srv/kb/${name}`)),
      ["/srv/kb/.env", "/srv/kb/a.key", "/srv/kb/b.key", "/srv/kb/c.key"],
    ],
    [
      "metadata is named",
      ["a", "b", "7"].map((name) => http(`http://169.254.169.254/latest/x/${name}`)),
      ["7", "a", "b"].map((name) => `http://169.254.169.254/latest/x/${name}`),
    ],
    [
      "who touched credentials gets no folder",
      [file("/srv/.env"), ...["a", "b.x", "c.y"].map((name) => file(`/srv/kb/${name}`))],
      ["/srv/.env", "/srv/kb/a", "/srv/kb/b.x", "/srv/kb/c.y"],
    ],
    ["wildcards in names are text", [file("/srv/[a]*{b}?")], [String.raw`/srv/\\[a\\]\\*\\{b\\}\\?`]],
  ])("%s", (_, actions, expected) => {
    expect(learned(...actions)).toEqual(expected);
  });

  it.each([
    ["1001", true],
    ["0b7e6c1a-9d2f-4e1c-8a44-5f0d6f1b2c3d", true],
    ["deadbeef01", true],
    ["cus_NffrFeUfNV2H7ib9", true],
    ["01JD3Q2W8ZK5N6T7V9XBYCDEFG", true],
    ["v1", false],
    ["refunds", false],
    ["facade", false],
    ["claude-sonnet-4-20250514", false],
    ["chat.completions", false],
    ["internationalization", false],
  ])("%s is an id: %s", (segment, expected) => {
    expect(isId(segment)).toBe(expected);
  });
});

describe("a learned policy", () => {
  it("is the same text for the same actions in any order, and says how many records each rule stands for", () => {
    const actions: SeenAction[] = [
      { action: file("/srv/kb/a.md"), count: 3, failed: 1 },
      { action: http("https://pay/v1/refunds", { action: "WRITE", actorId: "agent:refunds" }), count: 2 },
      { action: sql([table("orders")], { onBehalfOf: undefined }), count: 1 },
      { action: sql([table("cards")]), count: 4, refused: "rule no-cards denied it" },
    ];
    const { text, records } = learnPolicy(actions);
    expect(learnPolicy(actions.toReversed()).text).toBe(text);
    expect(records).toBe(6);
    expect(text.slice(text.indexOf("\npolicy:") + 1)).toBe(`policy: learned
mode: observe
default: deny

resources:
  # 1 record
  orders: { db: "postgresql://db/app/public.orders" }
  # 3 records
  kb: { file: "/srv/kb/a.md" }
  # 2 records
  pay: { http: "https://pay/v1/refunds" }

rules:
  # 2 records
  - { id: refunds-write, allow: { agent: "agent:refunds", on_behalf_of: "user:1", action: WRITE, resource: pay } }
  # 1 record
  - { id: support-read, allow: { agent: "agent:support", on_behalf_of: none, action: READ, resource: orders } }
  # 3 records, 1 of them failed
  - { id: support-read-2, allow: { agent: "agent:support", on_behalf_of: "user:1", action: READ, resource: kb } }

# Not learned:
#   support: READ postgresql://db/app/public.cards: rule no-cards denied it (4 records)
`);
  });

  it("allows an action on several things in one rule, and nothing that it does not need", () => {
    const insert = sql([table("log", "write"), table("orders", "read")], { action: "WRITE" });
    const join = sql([table("orders"), table("customers")]);
    const { policy, text } = learnPolicy(seen(insert, join));
    expect(policy.evaluate(insert).decision).toBe("allow");
    expect(policy.evaluate(join).decision).toBe("allow");
    expect(policy.evaluate(sql([table("customers")], { action: "WRITE" })).decision).toBe("deny");
    expect(text).toContain("a rule cannot say which it may only read");
  });

  it.each<[string, readonly string[], readonly string[]]>([
    ["alone", ["/srv/build"], ["/srv/build/**"]],
    ["in a root", ["/build"], ["/build/**"]],
    ["everything", ["/"], ["/**"]],
    ["with a star in its name", ["/srv/a*b"], [String.raw`/srv/a\\*b/**`]],
    ["beside others", ["a", "b"].map((name) => `/srv/w/${name}`), ["/srv/w/a/**", "/srv/w/b/**"]],
    ["where siblings repeat", ["a", "b", "c"].map((name) => `/srv/w/job/${name}`), ["/srv/w/job/*/**"]],
    ["and a directory in it", ["/srv/w/a", "/srv/w/a/b", "/srv/w/a/b/c"], ["/srv/w/a/**"]],
  ])("has all of a directory that was taken with everything in it, %s", (_, paths, expected) => {
    const actions = paths.map((path) => tree(path));
    const { policy, text, unlearned } = learnPolicy(seen(...actions));
    expect([patterns(text), unlearned]).toEqual([expected, []]);
    for (const action of actions) expect(policy.evaluate(action).decision).toBe("allow");
  });

  it("takes a directory with what else was done in it, and no other one", () => {
    const inside = ["a", "b", "c", "d"].map((name) => remove(`/srv/w/job/${name}`));
    const { policy, text } = learnPolicy(
      seen(tree("/srv/w/job"), ...inside, remove("/srv/w/one"), remove("/srv/w/two")),
    );
    expect(patterns(text)).toEqual(["/srv/w/job/**", "/srv/w/one", "/srv/w/two"]);
    expect(policy.evaluate(tree("/srv/w")).decision).toBe("deny");
    expect(policy.evaluate(tree("/srv/w/one")).decision).toBe("deny");
  });

  it("keeps its wildcards from credentials, but for those who used them", () => {
    const actions = ["a", "b", "c"].map((name) => file(`/srv/kb/${name}`));
    const other = file("/srv/app/.env", { actorId: "other" });
    const { policy } = learnPolicy(seen(...actions, other));
    expect(policy.evaluate(file("/srv/kb/d")).decision).toBe("allow");
    expect(policy.evaluate(file("/srv/kb/.env")).ruleId).toBe("no-secrets");
    expect(policy.evaluate(other).decision).toBe("allow");
    expect(policy.warnings).toEqual([]);
  });

  it("names people up to twenty, and never turns somebody into nobody", () => {
    const people = Array.from({ length: 21 }, (_, n) => file("/srv/kb/a", { onBehalfOf: `user:${n}` }));
    const few = learnPolicy(seen(...people.slice(1)));
    expect(few.policy.evaluate(file("/srv/kb/a", { onBehalfOf: "user:99" })).decision).toBe("deny");
    const many = learnPolicy(seen(...people));
    expect(many.policy.evaluate(file("/srv/kb/a", { onBehalfOf: "user:99" })).decision).toBe("allow");
    expect(many.policy.evaluate(file("/srv/kb/a", { onBehalfOf: undefined })).decision).toBe("deny");
  });

  it("lists what no rule can say, and allows the rest", () => {
    const bogus = JSON.parse('"BOGUS"') as PolicyAction["action"];
    const { unlearned, policy, text } = learnPolicy(
      seen(
        file("/srv/a"),
        file("/srv/b", { action: bogus }),
        act("db.statement", []),
        file("/srv/c", { actorId: "x\u001b[2J\n" }),
        file(`/srv/${"d".repeat(600)}`),
        http("no url"),
      ),
    );
    expect(unlearned.map(({ why }) => why)).toEqual([
      'unknown action "BOGUS"',
      "it has no target, and a rule for it would allow all that belongs to no resource",
      'no pattern can name the actor "x\\u001b[2J\\n"',
      expect.stringContaining('no pattern can name the file "/srv/ddd'),
      'the http.endpoint target "no url" is not a URL',
    ]);
    expect(policy.evaluate(file("/srv/a")).decision).toBe("allow");
    expect(text).not.toContain("\u001b");
    expect(text.match(/^[^#\n].*\[2J/m)).toBeNull();
  });

  it("folds folders until it is small enough to be a policy, and says when it cannot be", () => {
    const wide = Array.from({ length: 3000 }, (_, n) => file(`/srv/data-${n % 50}/${n}/file-${n}`));
    const { policy, text } = learnPolicy(seen(...wide));
    expect(Buffer.byteLength(text)).toBeLessThanOrEqual(64 * 1024);
    expect(policy.evaluate(wide[0]!).decision).toBe("allow");
    expect(policy.evaluate(file("/srv/other/x")).decision).toBe("deny");
    const hosts = Array.from({ length: 3000 }, (_, n) => http(`https://host-${n}.internal/`));
    expect(() => learnPolicy(seen(...hosts))).toThrow(
      expect.objectContaining<Partial<PolicyError>>({
        code: "TOO_LARGE",
        message: expect.stringContaining("learn from less"),
      }),
    );
  });

  it("of nothing denies everything", () => {
    const { policy } = learnPolicy([], { id: "empty", default: "review" });
    expect([policy.id, policy.mode, policy.evaluate(file("/srv/a")).decision]).toEqual(["empty", "observe", "review"]);
    expect(() => learnPolicy([], { id: "no id" })).toThrow("the policy's id");
  });
});

const segment = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.constantFrom("a", "b", "c.md", "d.md", "e.md", "v1", "1001", "A%20b", "deadbeef01", "kb"),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(".env", "id_rsa", "x.key", "[x]", "{a,b}", "*", "a%2Fb", "a;b", "(!)", "%E4", "ä", ".."),
  },
);
const path = fc.array(segment, { minLength: 1, maxLength: 4 }).map((segments) => `/${segments.join("/")}`);
const target = fc.oneof(
  path.map((text): PolicyTarget => ({
    type: "file",
    id: `file://${text.replaceAll(/[[\]{}*]/g, encodeURIComponent)}`,
  })),
  fc
    .tuple(
      fc.constantFrom(
        "https://pay.internal",
        "http://h:8080",
        "https://api.openai.com",
        "http://169.254.169.254",
        "http://[::1]:9",
      ),
      path,
    )
    .map(([host, text]): PolicyTarget => ({ type: "http.endpoint", id: `${host}${text}` })),
  fc
    .tuple(
      fc.constantFrom("orders", "cards", '"Odd.*"', "items"),
      fc.constantFrom(undefined, "read" as const, "write" as const),
    )
    .map(([name, access]) => table(name, access)),
  fc.constantFrom("read_file", "tool:x", "a b").map((id): PolicyTarget => ({ type: "tool", id })),
  fc.constantFrom("/usr/bin/git", "git").map((id): PolicyTarget => ({ type: "process", id })),
  fc
    .constantFrom("tcp://10.0.0.7:6379", "unix:/run/x.sock", "tcp://[fd00::1]:1")
    .map((id): PolicyTarget => ({ type: "socket", id })),
);
const anyAction = fc.record({
  event: fc.constantFrom("file.read", "http.request", "db.statement"),
  action: fc.constantFrom("READ" as const, "WRITE" as const, "UPDATE" as const, "EXECUTE" as const),
  targets: fc.array(target, { minLength: 1, maxLength: 3 }),
  actorId: fc.constantFrom("support", "agent:refunds", "user:*", "none", "", "{x}"),
  actorType: fc.constantFrom("agent" as const, "user" as const, "service" as const),
  onBehalfOf: fc.constantFrom(undefined, "", "user:1", "user:2", "none", "*"),
});

describe("for whatever was seen", () => {
  it("the policy has no warnings, allows each action, and neither a stranger nor a strange resource", () => {
    fc.assert(
      fc.property(fc.array(anyAction, { maxLength: 40, size: "max" }), (actions) => {
        const { policy, text, unlearned } = learnPolicy(seen(...actions));
        expect(unlearned).toEqual([]);
        expect(learnPolicy(seen(...actions.toReversed())).text).toBe(text);
        expect(policy.warnings).toEqual([]);
        // No wildcard in the first two levels of a path, in a host, or in the first level of an address.
        expect(text).not.toMatch(/"(?:\/(?:[^/"]*\/)?|\w+:\/\/(?:[^/"]*\/)?)[^/"]*(?<!\\)\*/);
        for (const action of actions) {
          expect(policy.evaluate(action), JSON.stringify(action)).toMatchObject({ decision: "allow" });
          for (const stranger of [
            { ...action, actorId: "stranger" },
            { ...action, onBehalfOf: "user:666" },
            { ...action, action: "DELETE" as const },
            { ...action, targets: [...action.targets, ...file("/fresh/unrelated").targets] },
            { ...action, targets: http("https://elsewhere.example/a").targets },
            { ...action, targets: http("http://169.254.169.254/latest/fresh").targets },
            { ...action, targets: file("/a/b/fresh/.ssh/id_ed25519").targets },
          ]) {
            expect({ stranger, ...policy.evaluate(stranger), text }).toMatchObject({ decision: "deny" });
          }
        }
      }),
      { numRuns: 300 },
    );
  });
});
