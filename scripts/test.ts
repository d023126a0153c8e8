// `npm test`: every check that a change has to pass, in the order in which they are cheap; the last line counts them.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

const checks: readonly { name: string; command: string; args: readonly string[] }[] = [
  { name: "build", command: "turbo", args: ["run", "build", "--output-logs=errors-only"] },
  { name: "generated files", command: "node", args: ["conventions/generate.ts", "--check"] },
  { name: "lock file", command: "node", args: ["scripts/check-lockfile.ts"] },
  { name: "format:check", command: "oxfmt", args: ["--check", "."] },
  { name: "lint", command: "oxlint", args: ["--type-aware"] },
  { name: "typecheck", command: "tsc", args: ["-p", "tsconfig.json"] },
];

let passed = 0;
let failed = 0;
let built = true;

function run(command: string, args: readonly string[]): boolean {
  const result = spawnSync(command, args, { cwd: root, stdio: ["ignore", "inherit", "inherit"] });
  if (result.error) process.stderr.write(`${command}: ${result.error.message}\n`);
  return result.status === 0;
}

for (const check of checks) {
  process.stdout.write(`\n> ${check.name}\n`);
  if (run(check.command, check.args)) passed++;
  else {
    failed++;
    process.stdout.write(`${check.name} FAILED\n`);
    built &&= check.name !== "build";
    // Nothing after a failed build says anything true.
    if (!built) break;
  }
}

if (built) {
  const folder = mkdtempSync(join(tmpdir(), "otel-audit-test-"));
  const report = join(folder, "report.json");
  process.stdout.write("\n> vitest\n");
  const ok = run("vitest", [
    "run",
    "--reporter=default",
    "--reporter=json",
    `--outputFile.json=${report}`,
    ...process.argv.slice(2),
  ]);
  const counts = readCounts(report);
  passed += counts.passed;
  failed += counts.failed;
  // A runner that ends badly without a failed test (a crash, an unhandled rejection) is a failure too.
  if (!ok && counts.failed === 0) failed++;
  rmSync(folder, { recursive: true, force: true });
}

process.stdout.write(`\n${passed} passed, ${failed} failed\n`);
process.exit(failed === 0 ? 0 : 1);

function readCounts(file: string): { passed: number; failed: number } {
  try {
    const json: unknown = JSON.parse(readFileSync(file, "utf8"));
    const { numPassedTests, numFailedTests, numPendingTests } = json as Record<string, unknown>;
    // A skipped test is a hole in the net: it counts as failed. A few are about Linux alone and are skipped elsewhere.
    const holes = process.platform === "linux" ? Number(numPendingTests ?? 0) : 0;
    return {
      passed: Number(numPassedTests ?? 0),
      failed: Number(numFailedTests ?? 0) + holes,
    };
  } catch {
    return { passed: 0, failed: 1 };
  }
}
