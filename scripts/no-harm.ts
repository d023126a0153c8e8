// `npm run test:no-harm [package…]`: the own tests of real packages, with and without `--import register`, test by test. What
// a test says may depend on the machine; it may not depend on us.
import { spawn } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { makeCertificate } from "../test/support/certificate.ts";
import { startOtlpSink, startPostgres, tempDir, type Postgres } from "../test/support/index.ts";
import { install } from "./install.ts";

interface Suite {
  readonly package: string;
  /** What it acts on, for the table. */
  readonly about: string;
  /** mocha for its own; node where each file is a program that prints TAP. */
  readonly runner: "mocha" | "node";
  /** Makes what the published package lacks, in its directory. */
  readonly prepare?: (directory: string) => void;
  readonly postgres?: true;
}

const SUITES: readonly Suite[] = [
  { package: "needle", about: "http, https, fs", runner: "mocha", prepare: makeKeys },
  { package: "node-fetch", about: "http", runner: "mocha" },
  { package: "hyperquest", about: "http", runner: "node" },
  { package: "ncp", about: "fs", runner: "mocha" },
  { package: "walkdir", about: "fs", runner: "node" },
  { package: "pg-pool", about: "pg", runner: "mocha", postgres: true },
  { package: "pg-cursor", about: "pg", runner: "mocha", postgres: true },
];

/** A test that is different is asked again: what it says by chance is no difference. */
const ATTEMPTS = 4;
const FILE_MS = 60_000;

const REGISTER = new URL("../packages/instrumentation-node/dist/register.js", import.meta.url).href;
const node = process.env["OTEL_AUDIT_TEST_NODE"] ?? process.execPath;
const folder = install("test/no-harm");
const spool = tempDir("no-harm-spool");

const wanted = process.argv.slice(2);
const suites = SUITES.filter(({ package: name }) => wanted.length === 0 || wanted.includes(name));
let harmed = 0;
await using sink = await startOtlpSink({ headers: { "otel-audit-collector": "test" } });
for (const suite of suites) {
  const { tests, passed, records, different } = await compare(suite);
  harmed += different.length;
  if (tests === 0) throw new Error(`${suite.package}: no test ran`);
  process.stdout.write(
    `${suite.package} (${suite.about}): ${tests} tests, ${passed} of them pass, ${records} records, ${different.length} differ\n`,
  );
  for (const line of different) process.stdout.write(`  ${line}\n`);
}
process.exit(harmed === 0 ? 0 : 1);

async function compare(
  suite: Suite,
): Promise<{ tests: number; passed: number; records: number; different: readonly string[] }> {
  const published = join(folder, "node_modules", suite.package, "test");
  const different: string[] = [];
  let [tests, passed] = [0, 0];
  sink.clear();
  for (const file of readdirSync(published).filter((name) => /\.[cm]?js$/.test(name))) {
    const run = (audited: boolean): Promise<Outcomes> => runFile(suite, file, audited);
    const bare = await run(false);
    tests += bare.size - 1;
    passed += [...bare.values()].filter((outcome) => /^(?:\d+ )?ok$/.test([...outcome][0] ?? "")).length;
    different.push(...(await differences(bare, run)).map((line) => `${file}: ${line}`));
  }
  return { tests, passed, records: sink.spans.length, different };
}

/** What each test said, by its name: `ok`, `not ok`, and how often, if there are several of the name. */
type Outcomes = Map<string, Set<string>>;

/** The tests that never say with us what they say without us, in several runs of both. */
async function differences(bare: Outcomes, run: (audited: boolean) => Promise<Outcomes>): Promise<string[]> {
  const audited = await run(true);
  for (let attempt = 1; attempt < ATTEMPTS && disjoint(bare, audited).length > 0; attempt++) {
    merge(bare, await run(false));
    merge(audited, await run(true));
  }
  return disjoint(bare, audited);
}

function disjoint(bare: Outcomes, audited: Outcomes): string[] {
  const names = new Set([...bare.keys(), ...audited.keys()]);
  return [...names]
    .filter((name) => ![...(bare.get(name) ?? [])].some((outcome) => audited.get(name)?.has(outcome)))
    .map((name) => `${name}: ${say(bare.get(name))} without, ${say(audited.get(name))} with`);
}

function say(outcome: Set<string> | undefined): string {
  return [...(outcome ?? ["nothing"])].join(" or ");
}

function merge(into: Outcomes, more: Outcomes): void {
  for (const [name, outcomes] of more) {
    const known = into.get(name) ?? new Set();
    for (const outcome of outcomes) known.add(outcome);
    into.set(name, known);
  }
}

/** A copy of the package: its tests leave things behind. */
function copyOf(suite: Suite): string {
  const home = tempDir(`no-harm-${suite.package}`);
  const directory = join(home, suite.package);
  cpSync(join(folder, "node_modules", suite.package), directory, { recursive: true });
  // Beside the package and not above it: what lies below a node_modules is not recorded.
  symlinkSync(join(folder, "node_modules"), join(home, "node_modules"));
  suite.prepare?.(directory);
  return directory;
}

async function runFile(suite: Suite, file: string, audited: boolean): Promise<Outcomes> {
  const directory = copyOf(suite);
  // All connections share a session: what a run leaves in it would be in the way of the next.
  await using postgres = suite.postgres ? await startPostgres({ sql: "" }) : undefined;
  const mocha = join(folder, "node_modules/mocha/bin/mocha.js");
  const program = suite.runner === "mocha" ? [mocha, "--reporter", "tap", "--exit", "--timeout", "10000"] : [];
  const args = [...(audited ? ["--import", REGISTER] : []), ...program, join("test", file)];
  const { NODE_OPTIONS: _, ...inherited } = process.env;
  const env = {
    ...inherited,
    ...(postgres === undefined ? {} : postgresEnvironment(postgres)),
    OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT: sink.url,
    OTEL_AUDIT_SPOOL_DIR: spool,
  };
  const { output, end } = await outputOf(args, directory, env);
  rmSync(join(directory, ".."), { recursive: true, force: true });
  return parse(output).set("exit code", new Set([end]));
}

function outputOf(
  args: readonly string[],
  cwd: string,
  env: NodeJS.ProcessEnv,
): Promise<{ output: string; end: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(node, args, { cwd, env, stdio: ["ignore", "pipe", "ignore"], timeout: FILE_MS });
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ output, end: String(code ?? signal) }));
  });
}

/** TAP, of tests in tests as well; without numbers and times. */
function parse(output: string): Outcomes {
  const counts = new Map<string, Map<string, number>>();
  for (const [, said = "", title = ""] of output.matchAll(/^ *((?:not )?ok) \d+(?: -)? *(.*)$/gm)) {
    const name = title.replace(/ *#.*$/, "").replace(/\b\d+(?:\.\d+)? ?ms\b/g, "");
    const of = counts.get(name) ?? new Map<string, number>();
    counts.set(name, of.set(said, (of.get(said) ?? 0) + 1));
  }
  return new Map(
    [...counts].map(([name, of]) => [
      name,
      new Set([[...of].map(([said, count]) => (count === 1 ? said : `${count} ${said}`)).join(", ")]),
    ]),
  );
}

function makeKeys(directory: string): void {
  const { key, cert } = makeCertificate();
  mkdirSync(join(directory, "test/keys"));
  writeFileSync(join(directory, "test/keys/ssl.key"), key);
  writeFileSync(join(directory, "test/keys/ssl.cert"), cert);
}

function postgresEnvironment({ host, port, user, password, database }: Postgres): Record<string, string> {
  return { PGHOST: host, PGPORT: String(port), PGUSER: user, PGPASSWORD: password, PGDATABASE: database };
}
