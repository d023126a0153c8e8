// Every snippet of the README is run here as a reader would: in a folder with an agent.js and an app.js, against a
// collector. A snippet that no rule below knows fails the test.
import { DEFAULT_CONFIG } from "@otel-audit/collector";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import {
  otelAudit,
  startCollector,
  startHttpApi,
  startOtlpSink,
  startProcess,
  tempDir,
  type HttpApi,
  type OtlpSink,
  type RunningCollector,
} from "./support/index.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const readme = readFileSync(join(root, "README.md"), "utf8");
const folder = tempDir("readme");
const dataDir = join(folder, "otel-audit-data");
let sink: OtlpSink;
let api: HttpApi;
let collector: RunningCollector;

interface Snippet {
  readonly language: string;
  readonly code: string;
}
const snippets: readonly Snippet[] = [...readme.matchAll(/```(\w+)\n([\s\S]*?)```/g)].map((match) => ({
  language: match[1]!,
  code: match[2]!,
}));
const commands = snippets.filter(({ language }) => language === "sh").flatMap(({ code }) => code.trim().split("\n"));

beforeAll(async () => {
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
  sink = await startOtlpSink();
  api = await startHttpApi();
  const policy = join(tempDir("policy"), "policy.yaml");
  writeFileSync(policy, snippets.find(({ language }) => language === "yaml")!.code);
  writeFileSync(join(folder, "policy.yaml"), readFileSync(policy));
  const agent = `await fetch(${JSON.stringify(`${api.url}/orders`)});\n`;
  for (const file of ["agent.js", "app.js"]) writeFileSync(join(folder, file), agent);
  mkdirSync(dataDir);
  const config = fileURLToPath(new URL("collector.yaml", import.meta.url));
  collector = await startCollector({ dataDir, config, env: { TEST_DEBUG_BACKEND: sink.url, TEST_POLICY: policy } });
});
afterAll(async () => {
  await collector[Symbol.asyncDispose]();
  await api.close();
  await sink.close();
});

/** Runs in the reader's folder, with records going to the collector of this test. */
async function run(
  command: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<{ code: number | null; output: string }> {
  await using child = await startProcess(command, args, {
    cwd: folder,
    env: {
      NODE_OPTIONS: undefined,
      OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT: collector.endpoints.otlpHttp,
      OTEL_AUDIT_SPOOL_DIR: join(folder, "spool"),
      ...env,
    },
  });
  const { code } = await child.exited;
  return { code, output: `${child.stdout}${child.stderr}` };
}

const words = (line: string): string[] => [...line.matchAll(/'([^']*)'|(\S+)/g)].map((match) => match[1] ?? match[2]!);
const otelAuditRule = async (line: string): Promise<string> => {
  const { code, output } = await run(process.execPath, [otelAudit, ...words(line).slice(2)]);
  expect(code, output).toBe(0);
  return output;
};

/** What is done with a command of the README; the first that matches. */
const RULES: readonly [RegExp, (line: string) => Promise<void>][] = [
  [
    /^npm (?:run )?(\w+)$/,
    async (line) => {
      const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { scripts: object };
      expect(scripts).toHaveProperty(line.replace(/^npm (?:run )?/, ""));
    },
  ],
  [
    /^npx otel-audit collector$/,
    async () => expect(await otelAuditRule("npx otel-audit collector --help")).toContain("--config"),
  ],
  [
    /^npx otel-audit run (?:--policy policy\.yaml |--learn learned\.yaml )?-- node agent\.js$/,
    async (line) => expect(await otelAuditRule(line)).toContain(`${api.url}/orders`),
  ],
  [
    /^npx otel-audit policy test --trail 7d /,
    // Others' records are in the trail too: what the policy has not seen would be denied.
    async (line) => {
      const { code, output } = await run(process.execPath, [otelAudit, ...words(line).slice(2)]);
      expect([0, 1], output).toContain(code);
      expect(output).toContain('policy "learned", mode observe');
    },
  ],
  [/^npx otel-audit (?:query|policy check|policy learn) /, async (line) => void (await otelAuditRule(line))],
  [
    /^OTEL_AUDIT_AGENT_ID=support node --import \S+ app\.js$/,
    async (line) => {
      const { code, output } = await run(process.execPath, words(line).slice(2), { OTEL_AUDIT_AGENT_ID: "support" });
      expect(code, output).toBe(0);
      expect(output).toContain("otel-audit: agent support");
      await expect
        .poll(() => collector.sql("SELECT 1 FROM otel_audit.audit_events WHERE ActorId = 'support'"))
        .not.toEqual([]);
    },
  ],
  // Any OTLP exporter: test/collector.test.ts runs the official ones. Here the address has to be the built-in one.
  [
    /^OTEL_EXPORTER_OTLP_ENDPOINT=\S+ python agent\.py$/,
    async (line) => expect(DEFAULT_CONFIG).toContain(`endpoint: ${/127\.0\.0\.1:\d+/.exec(line)![0]}`),
  ],
];

it.each(commands)("%s", async (line) => {
  const rule = RULES.find(([pattern]) => pattern.test(line));
  expect(rule, "a rule for this command").toBeDefined();
  await rule![1](line);
});

const where = (condition: string): Promise<unknown[]> =>
  collector.sql(`SELECT 1 FROM otel_audit.audit_events WHERE ${condition}`);

it("runs the JavaScript", async () => {
  const [withAgent, sdk, ...others] = snippets.filter(({ language }) => language === "js");
  expect(others).toEqual([]);
  writeFileSync(join(folder, "with-agent.js"), `const url = ${JSON.stringify(api.url)};\n${withAgent!.code}`);
  const imported = await run(process.execPath, [
    "--import",
    "@otel-audit/instrumentation-node/register",
    "with-agent.js",
  ]);
  expect(imported.code, imported.output).toBe(0);
  writeFileSync(join(folder, "sdk.js"), `${sdk!.code}\nawait fetch(${JSON.stringify(`${api.url}/from-sdk`)});\n`);
  const inSdk = await run(process.execPath, ["sdk.js"], {
    OTEL_EXPORTER_OTLP_ENDPOINT: sink.url,
    OTEL_AUDIT_AGENT_ID: "in-sdk",
  });
  expect(inSdk.code, inSdk.output).toBe(0);
  await expect
    .poll(() => where("OnBehalfOf = 'user:4711' AND WorkflowId = 'refund-1001' AND EventName = 'http.request'"))
    .toHaveLength(1);
  await expect.poll(() => where(`ActorId = 'in-sdk' AND endsWith(TargetId, '/from-sdk')`)).toHaveLength(1);
});

it("runs the SQL", async () => {
  for (const { code } of snippets.filter(({ language }) => language === "sql")) {
    expect(await collector.sql(code)).toBeInstanceOf(Array);
  }
});

const columns = (text: string): string[] =>
  text
    .split("\n")[0]!
    .trim()
    .split(/\s{2,}/);

it("shows the columns that the command prints", async () => {
  const picture = snippets.find(({ language }) => language === "text")!.code;
  const { output } = await run(process.execPath, [otelAudit, "query", "--data", dataDir]);
  expect(columns(picture)).toEqual(columns(output));
});

it("knows every kind of snippet", () => {
  expect([...new Set(snippets.map(({ language }) => language))].toSorted()).toEqual([
    "js",
    "sh",
    "sql",
    "text",
    "yaml",
  ]);
});
