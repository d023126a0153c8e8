// docs/operating.md: what it shows can be typed.
import { DEFAULT_CONFIG, loadConfig } from "@otel-audit/collector";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { otelAudit, startCollector, startProcess, tempDir, type RunningCollector } from "./support/index.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const guide = readFileSync(join(root, "docs", "operating.md"), "utf8");
const snippets = [...guide.matchAll(/^```(?<language>\w+)\n(?<code>[^]*?)^```$/gm)].map(({ groups }) => groups!);
const of = (language: string): string[] => snippets.filter((one) => one.language === language).map(({ code }) => code!);
const lines = of("sh").flatMap((code) => code.trim().split("\n"));

let collector: RunningCollector;
const dataDir = tempDir("operating");
beforeAll(async () => {
  // What is built in, on free ports.
  const config = join(tempDir("operating-config"), "built-in.yaml");
  writeFileSync(config, DEFAULT_CONFIG.replaceAll(/127\.0\.0\.1:\d+/g, "127.0.0.1:0"));
  collector = await startCollector({ dataDir, config });
});
afterAll(() => collector[Symbol.asyncDispose]());

async function run(args: readonly string[]): Promise<string> {
  await using child = await startProcess(process.execPath, [otelAudit, ...args], { env: { NODE_OPTIONS: undefined } });
  const { code } = await child.exited;
  expect(code, child.stderr).toBe(0);
  return child.stdout;
}

it.each(lines.filter((line) => line.startsWith("otel-audit ")))("%s", async (line) => {
  const words = line
    .replace(/ > \S+$/, "")
    .split(" ")
    .slice(1);
  const options = words.filter((word) => word.startsWith("--"));
  const first = words.findIndex((word) => word.startsWith("--"));
  const command = first < 0 ? words : words.slice(0, first);
  const help = await run([...command, "--help"]);
  for (const option of options) expect(help).toMatch(new RegExp(`^  ${option}\\b`, "m"));
  // A collector that runs is what the other tests have; the files are those of the reader.
  if (command[0] === "query") await run(words.map((word) => (word.startsWith("/var/") ? dataDir : word)));
  else if (!options.includes("--config") && command[0] !== "collector") await run(words);
});

it.each(lines.filter((line) => line.startsWith("curl ")))("%s", async (line) => {
  const url = new URL(line.split(" ").at(-1)!);
  const { metrics, health } = collector.endpoints;
  const mine = new URL(url.pathname, url.port === "8888" ? metrics : health);
  expect((await fetch(mine)).status).toBe(200);
});

it("has no other commands", () => {
  const others = lines.filter((line) => !/^(?:otel-audit|curl) /.test(line));
  expect(others).toEqual(["otelcol-contrib --config yours.yaml --config otel-audit.yaml"]);
});

it.each(of("yaml"))("shows a configuration that is right", async (code) => {
  const { config } = await loadConfig(["env:SHOWN"], { env: { SHOWN: code, CLICKHOUSE_PASSWORD: "p" } });
  expect(Object.keys(config.service.pipelines).length).toBeGreaterThan(0);
});

it("links to files that are there", () => {
  for (const [, link] of guide.matchAll(/\]\((\.\.\/[^)#]+|[a-z-]+\.md)\)/g))
    expect(() => readFileSync(join(root, "docs", link!)), link).not.toThrow(/ENOENT/);
});
