// `npm run test:matrix [combination…]`: the tests that run applications, on every supported Node with every supported line
// of OpenTelemetry JS. A combination is `20/2`, `24/3`, …; without any, all of them. The tests themselves run under the
// Node of this workspace; the applications that they start do not. `--tests TEXT` takes those with TEXT in their
// name.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { install } from "./install.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

/** OpenTelemetry 3.x wants Node 22.15. */
const COMBINATIONS = ["20/2", "22/2", "22/3", "24/2", "24/3", "26/2", "26/3"];

const TESTS = [
  "coverage-cases/coverage.test.ts",
  "drivers/beside-official.test.ts",
  "beside-opentelemetry.test.ts",
  "register.test.ts",
  "instrumentation.test.ts",
  "module-hook.test.ts",
  "spool/spool.test.ts",
].map((name) => `packages/instrumentation-node/src/${name}`);

interface Report {
  readonly testResults: readonly {
    readonly name: string;
    readonly message: string;
    readonly assertionResults: readonly {
      readonly fullName: string;
      readonly status: string;
      readonly failureMessages: readonly string[];
    }[];
  }[];
}

const { values, positionals: wanted } = parseArgs({ allowPositionals: true, options: { tests: { type: "string" } } });
const unknown = wanted.filter((name) => !COMBINATIONS.includes(name));
if (unknown.length > 0) {
  process.stderr.write(`no such combination: ${unknown.join(", ")}; there are ${COMBINATIONS.join(", ")}\n`);
  process.exit(2);
}

let failed = 0;
const rows: string[][] = [["Node", "OpenTelemetry", "passed", "failed", "seconds"]];
for (const combination of wanted.length > 0 ? wanted : COMBINATIONS) {
  const [node = "", line = ""] = combination.split("/");
  const started = performance.now();
  const counts = run(install(`test/matrix/node-${node}`), install(`test/matrix/otel-${line}`));
  failed += counts.failed;
  const seconds = Math.round((performance.now() - started) / 1000);
  rows.push([versionOf(node), `${line}.x`, String(counts.passed), String(counts.failed), String(seconds)]);
}
const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
for (const row of rows) {
  process.stdout.write(`${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ")}\n`);
}
process.exit(failed === 0 ? 0 : 1);

function run(nodeFolder: string, packages: string): { passed: number; failed: number } {
  const folder = mkdtempSync(join(tmpdir(), "otel-audit-matrix-"));
  const report = join(folder, "report.json");
  const env = {
    ...process.env,
    OTEL_AUDIT_TEST_NODE: join(nodeFolder, "node_modules/node/bin/node"),
    OTEL_AUDIT_TEST_PACKAGES: packages,
  };
  const part = values.tests === undefined ? [] : ["-t", values.tests];
  const args = ["run", "--reporter=json", `--outputFile=${report}`, ...part, ...TESTS];
  const { stdout, stderr } = spawnSync("vitest", args, { cwd: root, env, encoding: "utf8" });
  try {
    return count(JSON.parse(readFileSync(report, "utf8")) as Report);
  } catch {
    process.stderr.write(`${stdout}\n${stderr}\n`);
    return { passed: 0, failed: 1 };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function count({ testResults }: Report): { passed: number; failed: number } {
  let passed = 0;
  let failed = 0;
  for (const { name, message, assertionResults } of testResults) {
    const file = relative(root, name);
    for (const { fullName, status, failureMessages } of assertionResults) {
      // Left out by `--tests`.
      if (status === "skipped" && values.tests !== undefined) continue;
      if (status === "passed") passed++;
      else {
        failed++;
        process.stdout.write(`${file}: ${fullName}\n${failureMessages.join("\n")}\n\n`);
      }
    }
    if (assertionResults.length > 0) continue;
    failed++;
    process.stdout.write(`${file}: ${message}\n\n`);
  }
  return { passed, failed };
}

function versionOf(node: string): string {
  const manifest = readFileSync(join(root, `test/matrix/node-${node}/package.json`), "utf8");
  return (JSON.parse(manifest) as { dependencies: { node: string } }).dependencies.node;
}
