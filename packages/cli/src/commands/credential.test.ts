import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { parseCredentials } from "@otel-audit/collector";
import { otelAudit } from "../testing/command.ts";

const create = (...args: string[]): ReturnType<typeof otelAudit> => otelAudit("credential", "create", ...args);

describe("credential create", () => {
  it("shows a token once, and a configuration that knows only its hash", async () => {
    const { code, stdout, stderr } = await create("--agent", "agent:refunds");
    expect([code, stderr]).toEqual([0, ""]);
    const [token] = /^ {2}(oat_[\w-]{43})$/m.exec(stdout)!.slice(1);
    expect(stdout).toContain(`OTEL_AUDIT_EXPORTER_OTLP_HEADERS="authorization=Bearer%20${token}"`);
    const yaml = stdout.slice(stdout.indexOf("  - id"));
    expect(yaml).not.toContain(token);
    expect(parseCredentials(`credentials:\n${yaml}`, "test")).toEqual([
      {
        id: "agent:refunds",
        token_sha256: [createHash("sha256").update(token!).digest("hex")],
        agents: ["agent:refunds"],
        roles: [],
      },
    ]);
  });

  it("takes all that a credential has, also for machines, and makes another token each time", async () => {
    const args = [
      "--id",
      "a",
      "--agent",
      "support-*",
      "--agent",
      "x",
      "--tenant",
      "t",
      "--role",
      "policy",
      "--role",
      "review",
    ];
    const [first, second] = await Promise.all([1, 2].map(() => create(...args, "--rate-limit", "2.5", "--json")));
    const { token, yaml, credential, headers } = JSON.parse(first!.stdout) as Record<string, string>;
    expect(credential).toMatchObject({ id: "a", agents: ["support-*", "x"], roles: ["policy", "review"] });
    expect(headers).toBe(`authorization=Bearer%20${token}`);
    expect(parseCredentials(`credentials:\n${yaml}`, "test")).toMatchObject([
      { id: "a", tenant: "t", rate_limit: { recordsPerSecond: 2.5, burst: 3 } },
    ]);
    expect((JSON.parse(second!.stdout) as Record<string, string>)["token"]).not.toBe(token);
  });

  it("belongs to an agent of its own name without more", async () => {
    const { credential } = JSON.parse((await create("--json")).stdout) as {
      credential: { id: string; agents: string[] };
    };
    expect(credential.id).toMatch(/^credential-[0-9a-f]{8}$/);
    expect(credential.agents).toEqual([credential.id]);
  });

  it.each([
    [["--id", "a b"], '--id: "a b" is not an id'],
    [["--agent", "a{b"], "--agent: "],
    [["--agent", ""], "--agent: the pattern is empty"],
    [["--agent", "a", "--role", "admin"], "--role: Invalid option"],
    [["--agent", "a", "--rate-limit", "many"], "--rate-limit: "],
    [["--agent", "a", "--tenant", "\n"], "--tenant: "],
  ])("refuses %j", async (args, message) => {
    const { code, stdout, stderr } = await create(...args);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toContain(message);
  });
});
