// Cost of one verdict: 20 rules, 60 shapes of actions. Beside it the same decisions by an evaluator that keeps the parsed
// document and calls picomatch for every comparison. Run: node bench/policy.ts

import { Policy, type PolicyAction } from "@otel-audit/policy";
import picomatch from "picomatch";

interface Rule {
  readonly id: string;
  readonly decision: "allow" | "deny" | "review";
  readonly agent?: string;
  readonly action?: PolicyAction["action"];
  readonly resource?: string;
}

const TEAMS = ["support", "sales", "ops", "legal", "hr"] as const;

const resources: Readonly<Record<string, { kind: "http" | "db" | "file"; pattern: string }>> = Object.fromEntries(
  TEAMS.flatMap((team) => [
    [`${team}-api`, { kind: "http" as const, pattern: `https://${team}.internal/v1/**` }],
    [`${team}-tables`, { kind: "db" as const, pattern: `db.internal/app/${team}.{customers,orders,items}` }],
    [`${team}-files`, { kind: "file" as const, pattern: `/srv/${team}/**/*.md` }],
  ]),
);

const rules: readonly Rule[] = TEAMS.flatMap((team): Rule[] => [
  { id: `${team}-reads`, decision: "allow", agent: `${team}-*`, action: "READ", resource: `${team}-tables` },
  { id: `${team}-calls`, decision: "allow", agent: `${team}-*`, resource: `${team}-api` },
  { id: `${team}-keeps`, decision: "deny", action: "DELETE", resource: `${team}-files` },
  { id: `${team}-changes`, decision: "review", action: "UPDATE", resource: `${team}-tables` },
]);

const text = [
  "policy: bench",
  "mode: observe",
  "default: deny",
  "resources:",
  ...Object.entries(resources).map(([name, { kind, pattern }]) => `  ${name}: { ${kind}: ${JSON.stringify(pattern)} }`),
  "rules:",
  ...rules.map(
    ({ id, decision, agent, action, resource }) =>
      `  - { id: ${id}, ${decision}: ${JSON.stringify({ agent, action, resource })} }`,
  ),
].join("\n");

const actions: PolicyAction[] = TEAMS.flatMap((team) =>
  (["READ", "WRITE", "UPDATE", "DELETE"] as const).flatMap((action): PolicyAction[] => {
    const actor = { actorId: `agent:${team}-7`, actorType: "agent" as const, action };
    return [
      {
        ...actor,
        event: "http.request",
        targets: [{ type: "http.endpoint", id: `https://${team}.internal/v1/items/17` }],
      },
      {
        ...actor,
        event: "db.statement",
        targets: [{ type: "database.table", id: `postgresql://db.internal/app/${team}.orders` }],
      },
      { ...actor, event: "file.read", targets: [{ type: "file", id: `file:///srv/${team}/guide/intro.md` }] },
    ];
  }),
);

const ORDER = { deny: 0, review: 1, allow: 2 } as const;
const sorted = rules.toSorted((a, b) => ORDER[a.decision] - ORDER[b.decision]);
const KINDS: Readonly<Record<string, { kind: string; prefix: string }>> = {
  "http.endpoint": { kind: "http", prefix: "" },
  "database.table": { kind: "db", prefix: "postgresql://" },
  file: { kind: "file", prefix: "file://" },
};

function naive(action: PolicyAction): string {
  const [target] = action.targets;
  const { kind, prefix } = KINDS[target?.type ?? ""] ?? { kind: "", prefix: "" };
  const id = (target?.id ?? "").slice(prefix.length);
  for (const rule of sorted) {
    const resource = rule.resource === undefined ? undefined : resources[rule.resource];
    if (
      (rule.agent === undefined || picomatch.isMatch(action.actorId.replace("agent:", ""), rule.agent)) &&
      (rule.action === undefined || rule.action === action.action) &&
      (resource === undefined || (resource.kind === kind && picomatch.isMatch(id, resource.pattern, { dot: true })))
    ) {
      return rule.decision;
    }
  }
  return "deny";
}

function measure(judge: (action: PolicyAction) => unknown, rounds: number): number {
  let best = Number.POSITIVE_INFINITY;
  for (let run = 0; run < 5; run++) {
    const start = performance.now();
    for (let round = 0; round < rounds; round++) {
      for (const action of actions) {
        judge(action);
      }
    }
    best = Math.min(best, ((performance.now() - start) * 1000) / (rounds * actions.length));
  }
  return best;
}

/** The action's target with another last part, where the patterns have a wildcard. */
function freshId(action: PolicyAction): string {
  const id = action.targets[0]?.id ?? "";
  return action.event === "http.request" ? `${id}${count++}` : id.replace(/(\.md)?$/, `${count++}$1`);
}

const policy = Policy.parse(text);
for (const action of actions) {
  const { decision } = policy.evaluate(action);
  if (decision !== naive(action)) {
    throw new Error(`the two disagree on ${JSON.stringify(action)}: ${decision}, ${naive(action)}`);
  }
}
const again = measure((action) => policy.evaluate(action), 3000);
// The same decisions on resources that were never seen: what a memo does not help.
let count = 0;
const compiled = measure(
  (action) => policy.evaluate({ ...action, targets: [{ ...action.targets[0]!, id: freshId(action) }] }),
  1000,
);
const making = measure((action) => ({ ...action, targets: [{ ...action.targets[0]!, id: freshId(action) }] }), 1000);
const slow = measure(naive, 10);
console.log(`policy: ${rules.length} rules, ${actions.length} action shapes, the same decisions`);
console.log(`  an action seen before       ${again.toFixed(2)} µs an evaluation`);
console.log(`  compiled matcher, a new one ${(compiled - making).toFixed(2)} µs an evaluation`);
console.log(
  `  picomatch for each compare  ${slow.toFixed(2)} µs an evaluation (${(slow / (compiled - making)).toFixed(0)} x)`,
);

// What an agent can choose is the id. A pattern with four stars against 600 characters:
const hostile = `/${"a".repeat(600)}`;
const probe = Policy.parse('policy: p\nmode: observe\ndefault: allow\nresources: { r: { file: "**/*a*a*b" } }\n');
const test = picomatch("**/*a*a*b", { dot: true });
const time = (run: () => unknown): number => {
  const start = performance.now();
  run();
  return (performance.now() - start) * 1000;
};
const own = time(() =>
  probe.evaluate({
    event: "file.read",
    action: "READ",
    targets: [{ type: "file", id: `file://${hostile}` }],
    actorId: "a",
    actorType: "agent",
  }),
);
const regex = time(() => test(hostile));
console.log(
  `  hostile id, **/*a*a*b       ${own.toFixed(0)} µs, picomatch's regular expression ${regex.toFixed(0)} µs`,
);
