import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { tempDir } from "../../../test/support/index.ts";
import { otelAudit } from "./testing/command.ts";

const NODE_OPTIONS = `--import=${import.meta.resolve("@otel-audit/instrumentation-node/register")}`;
const WAY_OUT = "; start it with OTEL_AUDIT_DISABLED=1\n";

it.each([
  ["collector", "collector", "--data", "data"],
  ["ship", "ship", "spool"],
  ["reading a data directory", "query", "--data", "data"],
  ["reading a data directory", "policy", "learn", "--data", "data"],
])("%s says at once that it is audited itself", async (what, ...args) => {
  const dir = tempDir("audited");
  mkdirSync(join(dir, "spool"));
  const env = { NODE_OPTIONS, OTEL_AUDIT_AGENT_ID: "agent:a", OTEL_AUDIT_SPOOL_DIR: join(dir, "spool") };
  const { code, stderr } = await otelAudit.with({ cwd: dir, env }, ...args);
  expect(code).toBe(2);
  expect(stderr).toContain(`otel-audit: ${what} works on the audit's own files`);
  expect(stderr).toContain(WAY_OUT);
  expect(existsSync(join(dir, "data"))).toBe(false);
  const free = await otelAudit.with({ cwd: dir, env: { ...env, OTEL_AUDIT_DISABLED: "1" } }, ...args, "--help");
  expect(free.code).toBe(0);
});

it("what needs no file of the audit works", async () => {
  const dir = tempDir("audited");
  const env = { NODE_OPTIONS, OTEL_AUDIT_SPOOL_DIR: join(dir, "spool") };
  expect(await otelAudit.with({ cwd: dir, env }, "collector", "print-config")).toMatchObject({ code: 0 });
});
