import { describe, expect, it } from "vitest";
import { Policy } from "./policy.ts";

const RESOURCES = `resources:
  kb: { file: "/srv/kb/**" }
  api: { http: "https://api.internal/**" }
  cards: { db: "**/public.cards" }
`;
const USE = "  - { id: use, allow: { agent: y, resource: [kb, api, cards] } }";

function warningsOf(rules: string, head = "mode: observe\ndefault: review"): string[] {
  const policy = Policy.parse(`policy: p\n${head}\n${RESOURCES}rules:\n${USE}\n${rules}\n`);
  return policy.warnings.map(({ code, path }) => `${code} ${path}`);
}

describe("warnings", () => {
  it.each([
    [
      "resource against event",
      "  - { id: a, deny: { event: http.request, resource: kb } }",
      ["NEVER_MATCHES rules[1].deny.resource"],
    ],
    [
      "one resource of two",
      "  - { id: a, deny: { event: file.*, resource: [kb, cards] } }",
      ["REDUNDANT rules[1].deny.resource"],
    ],
    [
      "built-in against event",
      '  - { id: a, deny: { event: db.statement, resource: "@secrets" } }',
      ["NEVER_MATCHES rules[1].deny.resource"],
    ],
    ["unknown event", "  - { id: a, deny: { event: http.requests } }", ["UNKNOWN_EVENT rules[1].deny.event"]],
    [
      "every action excluded",
      "  - { id: a, deny: { action: { not: [READ, WRITE, CREATE, UPDATE, DELETE, EXECUTE] } } }",
      ["NEVER_MATCHES rules[1].deny.action"],
    ],
    [
      "every actor excluded",
      "  - { id: a, deny: { actor_type: { not: [agent, user, service, system] } } }",
      ["NEVER_MATCHES rules[1].deny.actor_type"],
    ],
    [
      "every name excluded",
      "  - { id: a, deny: { workflow: { not: [none, '*'] } } }",
      ["NEVER_MATCHES rules[1].deny.workflow"],
    ],
    [
      "a pattern beside its twin",
      "  - { id: a, deny: { agent: ['support-*', support-1, 'support-*'] } }",
      ["REDUNDANT rules[1].deny.agent", "REDUNDANT rules[1].deny.agent"],
    ],
    [
      "an allow under a deny",
      "  - { id: a, allow: { agent: support-1, resource: kb } }\n  - { id: b, deny: { agent: '*-1', resource: [kb, api] } }".replace(
        "support-*",
        "*-1",
      ),
      ["NEVER_DECIDES rules[1]"],
    ],
    [
      "an allow under its twin",
      "  - { id: a, allow: { agent: x } }\n  - { id: b, allow: { agent: x } }",
      ["NEVER_DECIDES rules[2]"],
    ],
    [
      "a review under a deny of everything",
      "  - { id: a, review: { agent: x } }\n  - { id: b, mode: enforce, deny: { workflow: { not: zzz } } }\n",
      [],
    ],
    [
      "literals outside a `not`",
      "  - { id: a, review: { agent: x } }\n  - { id: b, deny: { agent: { not: [y, z] } } }",
      ["NEVER_DECIDES rules[1]"],
    ],
    [
      "a smaller `not`",
      "  - { id: a, review: { tool: { not: [y, z] } } }\n  - { id: b, deny: { tool: { not: y } } }",
      ["NEVER_DECIDES rules[1]"],
    ],
    [
      "a larger `not`",
      "  - { id: a, review: { tool: { not: y } } }\n  - { id: b, deny: { tool: { not: [y, z] } } }",
      [],
    ],
    [
      "an enforced review is not hidden by a deny that observes",
      "  - { id: a, mode: enforce, review: { agent: x } }\n  - { id: b, deny: { agent: x } }",
      ["NEVER_DECIDES rules[2]"],
    ],
    [
      "a bare pattern covers one with agent:",
      "  - { id: a, review: { agent: 'agent:x' } }\n  - { id: b, deny: { agent: x } }",
      ["NEVER_DECIDES rules[1]"],
    ],
    [
      "… but not the other way round",
      "  - { id: a, review: { agent: x } }\n  - { id: b, deny: { agent: 'agent:x' } }",
      [],
    ],
    [
      "chains have several elements",
      "  - { id: a, review: { actor_chain: x } }\n  - { id: b, deny: { actor_chain: { not: y } } }",
      [],
    ],
    ["a deny is durable", "  - { id: a, durable: true, deny: { agent: x } }", ["REDUNDANT rules[1].durable"]],
    [
      "a durable allow is not hidden by its twin",
      "  - { id: a, allow: { agent: x } }\n  - { id: b, durable: true, allow: { agent: x } }",
      ["NEVER_DECIDES rules[1]"],
    ],
    ["nothing wrong", "  - { id: a, review: { agent: x } }\n  - { id: b, deny: { agent: 'x*', resource: kb } }", []],
  ])("%s", (_, rules, expected) => {
    expect(warningsOf(rules)).toEqual(expected);
  });

  it("an allow that only observes opens nothing in an enforcing document", () => {
    const rule = "  - { id: a, mode: observe, allow: { agent: x } }";
    expect(warningsOf(rule, "mode: enforce\ndefault: deny")).toEqual(["NEVER_DECIDES rules[1]"]);
    expect(warningsOf(rule, "mode: observe\ndefault: deny")).toEqual([]);
  });

  it("an enforced allow is needed under a deny that only observes", () => {
    const rules = "  - { id: a, allow: { agent: x } }\n  - { id: b, mode: observe, deny: { agent: x } }";
    expect(warningsOf(rules, "mode: enforce\ndefault: deny")).toEqual([]);
    expect(warningsOf(rules, "mode: enforce\ndefault: allow")).toEqual(["NEVER_DECIDES rules[1]"]);
  });

  it("name unused resources and say why", () => {
    const policy = Policy.parse(`policy: p\nmode: observe\ndefault: deny\n${RESOURCES}`);
    expect(policy.warnings).toHaveLength(3);
    expect(policy.warnings[0]).toEqual({
      code: "UNUSED_RESOURCE",
      line: 5,
      column: 3,
      path: "resources.kb",
      message: 'no rule names the resource "kb"',
    });
  });
});
