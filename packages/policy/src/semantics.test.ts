import { describe, expect, it } from "vitest";
import { NO_POLICY, Policy } from "./policy.ts";
import type { PolicyAction, PolicyTarget } from "./types.ts";

const SUPPORT = `policy: support
mode: observe                 # or enforce; a rule may override
default: review
resources:
  customers: { db: "db.internal/app/public.{customers,orders}" }
  cards:     { db: "**/public.cards" }
  refunds:   { http: "https://pay.internal/v1/refunds/**" }
  llm:       { http: "https://api.anthropic.com/**", action: READ }
  kb:        { file: "/srv/kb/**" }
  work:      { file: "/srv/work/**" }
rules:
  - { id: lookup,          allow:  { agent: "support-*", action: READ, resource: [customers, kb, llm] } }
  - { id: workspace,       allow:  { agent: "support-*", resource: work } }
  - { id: person-approves, review: { action: WRITE, resource: refunds } }
  - { id: needs-customer,  deny:   { resource: refunds, on_behalf_of: none } }
  - { id: no-cards,        mode: enforce, deny: { resource: cards } }
  - { id: no-strangers,    mode: enforce, deny: { event: http.request, resource: { not: [refunds, llm] } } }
`;

const http = (id: string): PolicyTarget => ({ type: "http.endpoint", id });
const table = (name: string, access?: "read" | "write"): PolicyTarget => ({
  type: "database.table",
  id: `postgresql://db.internal/app/${name}`,
  access,
});
const file = (path: string): PolicyTarget => ({ type: "file", id: `file://${path}` });

const EVENTS = { "http.endpoint": "http.request", "database.table": "db.statement", file: "file.read" } as const;

function act(action: PolicyAction["action"], targets: PolicyTarget[], rest: Partial<PolicyAction> = {}): PolicyAction {
  const type = targets[0]?.type;
  const event = type === "http.endpoint" || type === "database.table" || type === "file" ? EVENTS[type] : "tool.call";
  return { event, action, targets, actorId: "agent:support-1", actorType: "agent", ...rest };
}

/** `decision enforcement rule` of one action under a document of rules over the design's resources. */
function judge(policy: Policy, action: PolicyAction): string {
  const { decision, enforcement, ruleId } = policy.evaluate(action);
  return `${decision} ${enforcement} ${ruleId}`;
}

function withRules(rules: string, head = "mode: observe\ndefault: review"): Policy {
  const resources = SUPPORT.slice(SUPPORT.indexOf("resources:"), SUPPORT.indexOf("rules:"));
  return Policy.parse(`policy: p\n${head}\n${resources}rules:\n${rules}\n`);
}

const read = (rest: Partial<PolicyAction>): PolicyAction => act("READ", [file("/srv/kb/a")], rest);

const rule = (decision = "", mode = ""): string =>
  `  - { id: ${decision}${mode}, ${mode === "" ? "" : `mode: ${mode}, `}${decision}: {} }`;

const tool = (id: string): PolicyTarget => ({ type: "tool", id });

const nameOf = (type: PolicyTarget["type"], id: string): string | undefined =>
  NO_POLICY.evaluate(act("READ", [{ type, id }])).targetName;

describe("the design's example", () => {
  const policy = Policy.parse(SUPPORT);
  const orders = table("public.orders");

  it.each([
    ["reads customers", act("READ", [orders]), "allow observed lookup"],
    ["with a bare id", act("READ", [orders], { actorId: "support-1" }), "allow observed lookup"],
    ["another agent", act("READ", [orders], { actorId: "agent:sales-1" }), "review observed default"],
    ["writes customers", act("UPDATE", [orders]), "review observed default"],
    ["joins two of them", act("READ", [orders, table("public.customers")]), "allow observed lookup"],
    ["joins what is not allowed", act("READ", [orders, table("public.salaries")]), "review observed default"],
    ["joins cards", act("READ", [orders, table("public.cards")]), "deny enforced no-cards"],
    ["model call", act("WRITE", [http("https://api.anthropic.com/v1/messages")]), "allow observed lookup"],
    [
      "deletes at the model's host",
      act("DELETE", [http("https://api.anthropic.com/v1/files/1")]),
      "review observed default",
    ],
    [
      "refund for a customer",
      act("WRITE", [http("https://pay.internal/v1/refunds")], { onBehalfOf: "user:1" }),
      "review observed person-approves",
    ],
    ["refund for nobody", act("WRITE", [http("https://pay.internal/v1/refunds")]), "deny observed needs-customer"],
    [
      "refund for an empty name",
      act("WRITE", [http("https://pay.internal/v1/refunds/7")], { onBehalfOf: "" }),
      "deny observed needs-customer",
    ],
    ["stranger", act("READ", [http("https://evil.example/x")]), "deny enforced no-strangers"],
    ["knowledge base", act("READ", [file("/srv/kb/a/b.md")]), "allow observed lookup"],
    ["writes the knowledge base", act("UPDATE", [file("/srv/kb/a.md")]), "review observed default"],
    ["deletes in the workspace", act("DELETE", [file("/srv/work/x")]), "allow observed workspace"],
    ["copies out of the workspace", act("CREATE", [file("/srv/work/x"), file("/tmp/x")]), "review observed default"],
    ["no target", act("EXECUTE", []), "review observed default"],
  ])("%s", (_, action, expected) => {
    expect(judge(policy, action)).toBe(expected);
  });

  it("names resource, version and reason", () => {
    expect(policy.evaluate(act("READ", [orders]))).toEqual({
      decision: "allow",
      enforcement: "observed",
      policyId: "support",
      policyVersion: policy.version,
      ruleId: "lookup",
      reason: "rule lookup allows agent support-*, action READ, resource customers or kb or llm",
      targetName: "customers",
      action: "READ",
      durable: false,
    });
    // sha256sum's answer to "policy: p\nmode: observe\ndefault: deny\n"
    expect(Policy.parse("policy: p\nmode: observe\ndefault: deny\n").version).toBe(
      "sha256:3cbb51b6e04c11b9fa218f20978b844cf42b68dfa09a97c30da500fcf8dcfec3",
    );
  });

  it("has no warnings", () => {
    expect(policy.warnings).toEqual([]);
  });
});

describe("quantifiers", () => {
  const orders = table("public.orders");
  const cards = table("public.cards");

  it("a deny needs any target, in the list and outside of it", () => {
    const inside = withRules("  - { id: d, deny: { resource: cards } }");
    expect(judge(inside, act("READ", [orders, cards]))).toBe("deny observed d");
    const outside = withRules("  - { id: d, deny: { resource: { not: cards } } }");
    expect(judge(outside, act("READ", [orders, cards]))).toBe("deny observed d");
    expect(judge(outside, act("READ", [cards]))).toBe("review observed default");
  });

  it("an allow needs all targets, in the list and outside of it", () => {
    const inside = withRules("  - { id: a, allow: { resource: cards } }");
    expect(judge(inside, act("READ", [orders, cards]))).toBe("review observed default");
    const outside = withRules("  - { id: a, allow: { resource: { not: cards } } }");
    expect(judge(outside, act("READ", [orders, cards]))).toBe("review observed default");
    expect(judge(outside, act("READ", [orders]))).toBe("allow observed a");
  });

  it("two allows do not add up", () => {
    const policy = withRules(
      "  - { id: a, allow: { resource: cards } }\n  - { id: b, allow: { resource: customers } }",
    );
    expect(judge(policy, act("READ", [orders, cards]))).toBe("review observed default");
  });

  it("an action without targets is in no resource", () => {
    expect(judge(withRules("  - { id: a, allow: { resource: kb } }"), act("READ", []))).toBe("review observed default");
    expect(judge(withRules("  - { id: a, allow: { resource: none } }"), act("READ", []))).toBe("allow observed a");
    expect(judge(withRules("  - { id: d, deny: { resource: { not: kb } } }"), act("READ", []))).toBe("deny observed d");
  });

  it("`resource: none` means no resource at all, the built-in ones included", () => {
    const policy = withRules("  - { id: d, deny: { resource: none } }");
    expect(judge(policy, act("READ", [file("/etc/hosts")]))).toBe("deny observed d");
    expect(judge(policy, act("READ", [file("/srv/kb/a")]))).toBe("review observed default");
    expect(judge(policy, act("READ", [file("/home/me/.env")]))).toBe("review observed default");
    expect(judge(policy, act("READ", [file("/srv/kb/a"), file("/etc/hosts")]))).toBe("deny observed d");
    const some = withRules("  - { id: a, allow: { resource: { not: none } } }");
    expect(judge(some, act("READ", [file("/srv/kb/a")]))).toBe("allow observed a");
    expect(judge(some, act("READ", [file("/etc/hosts")]))).toBe("review observed default");
  });

  it("what a statement only reads is a READ of that table", () => {
    const leak = act("CREATE", [table("public.leak", "write"), table("public.cards", "read")]);
    expect(judge(withRules("  - { id: d, deny: { action: READ, resource: cards } }"), leak)).toBe("deny observed d");
    expect(judge(withRules("  - { id: d, deny: { action: CREATE, resource: cards } }"), leak)).toBe(
      "review observed default",
    );
    expect(judge(withRules("  - { id: a, allow: { action: CREATE } }"), leak)).toBe("review observed default");
    expect(judge(withRules("  - { id: a, allow: { action: [CREATE, READ] } }"), leak)).toBe("allow observed a");
  });

  it("an execution stays one, whatever it reads", () => {
    const copy = act("EXECUTE", [table("public.orders", "read")]);
    expect(judge(withRules("  - { id: d, deny: { action: EXECUTE } }"), copy)).toBe("deny observed d");
    expect(judge(withRules("  - { id: d, deny: { action: EXECUTE, resource: customers } }"), copy)).toBe(
      "deny observed d",
    );
    expect(judge(withRules("  - { id: a, allow: { action: READ, resource: customers } }"), copy)).toBe(
      "review observed default",
    );
  });
});

describe("fields", () => {
  it.each([
    ["agent: support-1", { actorId: "support-1" }, true],
    ["agent: support-1", { actorId: "agent:support-1" }, true],
    ["agent: 'agent:support-1'", { actorId: "support-1" }, true],
    ["agent: 'agent:support-1'", { actorId: "support-1", actorType: "user" }, false],
    ["agent: 'agent:support-1'", { actorId: "agent:support-1", actorType: "service" }, true],
    ["agent: 'a*'", { actorId: "agent:zeta" }, false],
    ["agent: 'a*'", { actorId: "agent:alpha" }, true],
    ["agent: 'user:*'", { actorId: "user:1", actorType: "user" }, true],
    ["agent: '*'", { actorId: "spiffe://td/agent/7" }, true],
    ["agent: '*'", { actorId: "" }, false],
    ["agent: none", { actorId: "" }, true],
    ["agent: { not: none }", { actorId: "x" }, true],
    ["agent: { not: 'support-*' }", { actorId: "agent:support-1" }, false],
    ["agent: [x, none]", { actorId: "" }, true],
    ["agent: \\none", { actorId: "none" }, true],
    ["actor_type: [user, service]", { actorType: "service" }, true],
    ["actor_type: { not: agent }", { actorType: "agent" }, false],
    ["actor_chain: planner", { actorChain: ["agent:root", "agent:planner"] }, true],
    ["actor_chain: planner", {}, false],
    ["actor_chain: none", { actorChain: [] }, true],
    ["actor_chain: { not: planner }", { actorChain: ["root", "planner"] }, false],
    ["on_behalf_of: 'user:*'", { onBehalfOf: "user:1" }, true],
    ["on_behalf_of: 'user:*'", {}, false],
    ["on_behalf_of: { not: 'user:1' }", {}, true],
    ["workflow: refund", { workflow: "refund" }, true],
    ["workflow: '*'", {}, false],
    ["tool: { not: [none, read_file] }", { tool: "write_file" }, true],
    ["tool: { not: [none, read_file] }", {}, false],
    ["event: file.*", {}, true],
    ["event: { not: file.* }", {}, false],
    ["action: [WRITE, DELETE]", {}, false],
    ["action: { not: [WRITE, DELETE] }", {}, true],
    ["agent: support-1, action: READ, workflow: refund", { actorId: "support-1" }, false],
    ["", {}, true],
  ] satisfies [string, Partial<PolicyAction>, boolean][])("{ %s } on %j is %s", (match, rest, expected) => {
    for (const decision of ["allow", "deny"]) {
      const policy = withRules(`  - { id: r, ${decision}: { ${match} } }`);
      expect(judge(policy, read(rest))).toBe(expected ? `${decision} observed r` : "review observed default");
    }
  });
});

describe("precedence and modes", () => {
  const action = act("READ", [file("/srv/kb/a")]);
  const OBSERVE = "mode: observe\ndefault: deny";
  const ENFORCE = "mode: enforce\ndefault: deny";

  it.each([
    ["deny over review over allow", OBSERVE, ["allow", "review", "deny"], "deny observed deny"],
    ["review over allow", OBSERVE, ["allow", "review"], "review observed review"],
    ["in an enforcing document", ENFORCE, ["allow", "review"], "review enforced review"],
    ["no rule", ENFORCE, [], "deny enforced default"],
    ["allow", ENFORCE, ["allow"], "allow enforced allow"],
    ["a rule of its own mode", OBSERVE, ["allow", "deny enforce"], "deny enforced denyenforce"],
    ["of two denies the enforced one", OBSERVE, ["deny", "deny enforce"], "deny enforced denyenforce"],
    [
      "a trial deny does not let an enforced review pass",
      ENFORCE,
      ["review", "deny observe"],
      "review enforced review",
    ],
    ["a trial deny does not let the default pass", ENFORCE, ["deny observe"], "deny enforced default"],
    [
      "a trial deny is recorded where the action may run",
      ENFORCE,
      ["allow", "deny observe"],
      "deny observed denyobserve",
    ],
    ["a trial allow opens nothing", ENFORCE, ["allow observe"], "deny enforced default"],
    ["an enforced allow in an observing document", OBSERVE, ["allow enforce"], "allow enforced allowenforce"],
    [
      "review that is enforced, over a deny that is not",
      OBSERVE,
      ["deny", "review enforce"],
      "review enforced reviewenforce",
    ],
  ])("%s", (_, head, rules, expected) => {
    const texts = rules.map((each) => rule(...each.split(" ")));
    for (const order of [texts, texts.toReversed()]) {
      const list = order.length === 0 ? "  []" : order.join("\n");
      expect(judge(withRules(list, head), action)).toBe(expected);
    }
  });

  it("the option takes the place of the document's mode, not of a rule's", () => {
    const text =
      "policy: p\nmode: observe\ndefault: deny\nrules: [{ id: r, mode: observe, deny: { event: http.request } }]";
    const policy = Policy.parse(text, { mode: "enforce" });
    expect(policy.mode).toBe("enforce");
    expect(judge(policy, action)).toBe("deny enforced default");
  });
});

const durable = (rules: string): unknown => withRules(rules).evaluate(act("READ", [file("/srv/kb/a")])).durable;

describe("durable", () => {
  it("is what a rule marks so, whatever else allows the action", () => {
    const plain = "  - { id: a, allow: { resource: kb } }";
    expect(durable(plain)).toBe(false);
    expect(durable(`${plain}\n  - { id: b, durable: true, allow: { resource: kb } }`)).toBe(true);
    expect(durable(`${plain}\n  - { id: b, durable: false, allow: { resource: kb } }`)).toBe(false);
    expect(durable(`${plain}\n  - { id: b, durable: true, allow: { resource: work } }`)).toBe(false);
  });

  it("is every deny and review, also one that is only observed", () => {
    expect(durable("  - { id: a, deny: { resource: kb } }")).toBe(true);
    expect(durable("  - { id: a, review: { resource: kb } }")).toBe(true);
    expect(durable("  - { id: a, mode: enforce, deny: { resource: kb } }")).toBe(true);
    expect(durable("  - { id: a, allow: { resource: work } }")).toBe(true);
    expect(Policy.parse("policy: p\nmode: observe\ndefault: allow\n").evaluate(act("READ", [])).durable).toBe(false);
  });
});

describe("a resource's action", () => {
  const policy = Policy.parse(`policy: p
mode: observe
default: deny
resources:
  api: { http: "https://api.internal/**" }
  search: { http: "https://api.internal/search", action: READ }
  purge: { http: "https://api.internal/purge/**", action: DELETE }
  lookup: { tool: ["lookup_*", "crm/lookup_*"], action: READ }
rules:
  - { id: reads, allow: { action: READ } }
`);
  it.each([
    [act("WRITE", [http("https://api.internal/search")]), "READ", "allow"],
    [act("WRITE", [http("https://api.internal/other")]), "WRITE", "deny"],
    [act("DELETE", [http("https://api.internal/search")]), "DELETE", "deny"],
    [act("READ", [http("https://api.internal/purge/1")]), "READ", "allow"],
    [act("WRITE", [http("https://api.internal/purge/1")]), "DELETE", "deny"],
    // In doubt whether it is the search, it stays a WRITE.
    [act("WRITE", [http("https://api.internal/SEARCH")]), "WRITE", "deny"],
    [act("WRITE", [http("https://api.internal/PURGE/1")]), "DELETE", "deny"],
    [act("EXECUTE", [tool("lookup_order")]), "READ", "allow"],
    [act("EXECUTE", [tool("tool:lookup_order")]), "READ", "allow"],
    [act("EXECUTE", [tool("tool:crm%2Flookup_order")]), "READ", "allow"],
    [act("EXECUTE", [tool("send_mail")]), "EXECUTE", "deny"],
  ])("%j becomes %s: %s", (action, expected, decision) => {
    expect(policy.evaluate(action)).toMatchObject({ action: expected, decision });
  });
});

describe("what cannot be judged", () => {
  const policy = Policy.parse(SUPPORT);
  const good = act("READ", [file("/srv/kb/a")]);
  it.each([
    ["no URL", { ...good, targets: [http("pay.internal")] }],
    ["another scheme", { ...good, targets: [http("gopher://pay.internal/")] }],
    ["a relative path", { ...good, targets: [{ type: "file", id: "kb/a" }] }],
    ["a table without a server", { ...good, targets: [{ type: "database.table", id: "public.orders" }] }],
    ["no id", { ...good, targets: [file("/a"), { type: "tool", id: "" }] }],
    ["an id without end", { ...good, targets: [file(`/${"a".repeat(9000)}`)] }],
    ["an unknown action", { ...good, action: "GRANT" }],
    ["an unknown actor type", { ...good, actorType: "robot" }],
    ["an unknown target type", { ...good, targets: [{ type: "queue", id: "q" }] }],
    ["no targets", { ...good, targets: undefined }],
    ["too many targets", { ...good, targets: Array.from({ length: 1001 }, () => file("/a")) }],
    ["nothing", null],
  ])("%s is denied", (_, action) => {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what callers without types can do
    const verdict = policy.evaluate(action as unknown as PolicyAction);
    // Enforced, because no-cards is: else the error would be a way past it.
    expect(verdict).toMatchObject({ decision: "deny", enforcement: "enforced", ruleId: "policy_error" });
    expect(verdict.reason).toContain("could not be evaluated");
  });

  it("is only observed where nothing is enforced", () => {
    const observing = Policy.parse("policy: p\nmode: observe\ndefault: allow\n");
    const verdict = observing.evaluate({ ...good, targets: [http("x")] });
    expect(verdict).toMatchObject({ decision: "deny", enforcement: "observed", ruleId: "policy_error" });
  });
});

describe("built-in resources", () => {
  it.each([
    ["file", "file:///home/a/.env", "@secrets"],
    ["file", "file:///app/.env.production", "@secrets"],
    ["file", "file:///home/a/.ssh/config", "@secrets"],
    ["file", "file:///home/a/.SSH/id_rsa", "@secrets"],
    ["file", "file:///home/a/%2Eaws/credentials", "@secrets"],
    ["file", "file:///proc/self/environ", "@secrets"],
    ["file", "file:///proc/1/task/7/mem", "@secrets"],
    ["file", "file:///run/secrets/token", "@secrets"],
    ["file", "file:///etc/shadow", "@secrets"],
    ["file", "file:///srv/tls/server.key", "@secrets"],
    ["file", "file:///srv/envelope", undefined],
    ["file", "file:///proc/self/status", undefined],
    ["http.endpoint", "http://169.254.169.254/latest/meta-data", "@metadata"],
    ["http.endpoint", "http://[::ffff:169.254.169.254]/latest", "@metadata"],
    ["http.endpoint", "http://2852039166/", "@metadata"],
    ["http.endpoint", "http://0xa9fea9fe/", "@metadata"],
    ["http.endpoint", "http://METADATA.google.internal./computeMetadata", "@metadata"],
    ["http.endpoint", "http://[fd00:ec2::254]/latest", "@metadata"],
    ["socket", "tcp://169.254.169.254:80", "@metadata"],
    ["http.endpoint", "https://api.anthropic.com/v1/messages", "llm:anthropic"],
    ["http.endpoint", "https://api.openai.com/v1/responses", "llm:openai"],
    ["http.endpoint", "https://acme.openai.azure.com/openai", "llm:azure.ai.openai"],
    ["http.endpoint", "https://bedrock-runtime.eu-west-1.amazonaws.com/model/x/invoke", "llm:aws.bedrock"],
    ["http.endpoint", "https://europe-west4-aiplatform.googleapis.com/v1", "llm:gcp.vertex_ai"],
    ["http.endpoint", "https://api.openai.com.evil.example/v1", undefined],
    ["http.endpoint", "https://api.openai.com:8443/v1", undefined],
    ["http.endpoint", "http://api.openai.com/v1", undefined],
    ["http.endpoint", "https://storage.googleapis.com/x", undefined],
    ["http.endpoint", "http://localhost:3000/", "@loopback"],
    ["http.endpoint", "http://127.1/", "@loopback"],
    ["http.endpoint", "http://[::1]:8080/x", "@loopback"],
    ["http.endpoint", "http://0.0.0.0/", "@loopback"],
    ["http.endpoint", "http://127.0.0.1.evil.example/", undefined],
    ["socket", "localhost:5432", "@loopback"],
    ["tool", "read_file", undefined],
  ] as const)("%s %s is %s", (type, id, name) => {
    expect(nameOf(type, id)).toBe(name);
  });

  it("are used in rules like any other", () => {
    const policy = Policy.parse(`policy: p
mode: enforce
default: allow
rules:
  - { id: secrets, deny: { resource: "@secrets" } }
  - { id: only-models, deny: { event: http.request, resource: { not: ["@llm", "@loopback"] } } }
`);
    expect(judge(policy, act("READ", [file("/home/a/.Env")]))).toBe("deny enforced secrets");
    expect(judge(policy, act("WRITE", [http("https://api.mistral.ai/v1/chat")]))).toBe("allow enforced default");
    expect(judge(policy, act("WRITE", [http("https://pay.internal/")]))).toBe("deny enforced only-models");
  });

  it("without a policy everything is allowed, what cannot be judged too", () => {
    expect(NO_POLICY.evaluate(act("READ", [http("nonsense")]))).toEqual({
      decision: "allow",
      enforcement: "observed",
      policyId: "none",
      policyVersion: "",
      ruleId: "default",
      reason: "there is no policy",
      targetName: undefined,
      action: "READ",
      durable: false,
    });
  });
});
