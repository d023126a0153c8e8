// A cut of `npm run test:matrix`: the oldest Node with the older line of OpenTelemetry, what differs most from this workspace.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const script = fileURLToPath(new URL("../scripts/matrix.ts", import.meta.url));

it("named imports on Node 20 beside OpenTelemetry 2.x", { timeout: 240_000 }, () => {
  const args = [script, "20/2", "--tests", "named import"];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  expect(status, stdout + stderr).toBe(0);
  expect(stdout).toMatch(/^20\.19\.\d+ +2\.x +[1-9]\d* +0 /m);
});
