import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { CollectorError } from "../../errors.ts";
import { parseConfig } from "../../config/config.ts";

const HASH = createHash("sha256").update("one").digest("hex");
const OTHER = createHash("sha256").update("two").digest("hex");
const SECRET = "oat_hunter2hunter2";

function parse(credentials: unknown, more: Record<string, unknown> = {}): unknown {
  return parseConfig(
    JSON.stringify({
      receivers: { otlp: { protocols: { http: {} } } },
      processors: { audit: {} },
      exporters: { clickhouse_audit: { endpoint: "http://127.0.0.1:8123" } },
      extensions: { audit_credentials: { ...(credentials === undefined ? {} : { credentials }), ...more } },
      service: {
        extensions: ["audit_credentials"],
        pipelines: { traces: { receivers: ["otlp"], processors: ["audit"], exporters: ["clickhouse_audit"] } },
      },
    }),
  );
}

function problem(credentials: unknown, more: Record<string, unknown> = {}): string {
  try {
    parse(credentials, more);
  } catch (error) {
    if (error instanceof CollectorError) return error.message;
    throw error;
  }
  return "";
}

const refunds = { id: "refunds", token_sha256: HASH, agents: ["refunds"] };

describe("audit_credentials", () => {
  it("takes tokens, a list of them while one is replaced, and names of certificates", () => {
    expect(
      problem([
        {
          ...refunds,
          token_sha256: [HASH.toUpperCase(), OTHER],
          tenant: "acme",
          roles: ["policy", "review", "keys", "retention"],
        },
        { id: "spiffe", certificate: { spiffe_id: "spiffe://acme/agents/*" }, agents: ["agent:*", "{a,b}"] },
        {
          id: "dns",
          certificate: { dns_name: "orders.internal" },
          agents: ["orders"],
          rate_limit: { records_per_second: 0.5 },
        },
      ]),
    ).toBe("");
    expect(problem(undefined, { file: "credentials.yaml" })).toBe("");
  });

  it.each<[string, unknown, string]>([
    ["nobody", [], "has neither credentials nor a file with them: nobody could speak"],
    [
      "a token",
      [{ id: "refunds", token: SECRET, agents: ["a"] }],
      "credentials::0::token: has to be token_sha256: a token itself never stands in a configuration, only its SHA-256: printf",
    ],
    [
      "a token in place of its hash",
      [{ ...refunds, token_sha256: SECRET }],
      "credentials::0::token_sha256::0: is not a SHA-256",
    ],
    ["a token among hashes", [{ ...refunds, token_sha256: [HASH, SECRET] }], "is not a SHA-256"],
    [
      "a number",
      [{ ...refunds, token_sha256: 12 }],
      "token_sha256::0: Invalid input: expected string, received number",
    ],
    [
      "the hash of an empty variable",
      [{ ...refunds, token_sha256: createHash("sha256").digest("hex") }],
      "is the SHA-256 of nothing: the token was empty",
    ],
    ["no agents", [{ id: "refunds", token_sha256: HASH }], "credentials::0::agents"],
    ["an empty list of agents", [{ ...refunds, agents: [] }], "credentials::0::agents: is empty: name the agents"],
    ["an agent that is no pattern", [{ ...refunds, agents: ["a{b"] }], "credentials::0::agents::0: "],
    ["an empty agent", [{ ...refunds, agents: [""] }], "the pattern is empty"],
    [
      "nothing to show",
      [{ id: "refunds", agents: ["a"] }],
      "credentials::0: needs one of token_sha256 and certificate",
    ],
    [
      "two things to show",
      [{ ...refunds, certificate: { dns_name: "a.b" } }],
      "needs one of token_sha256 and certificate",
    ],
    ["an empty certificate", [{ id: "a", agents: ["a"], certificate: {} }], "needs one of spiffe_id and dns_name"],
    ["a common name", [{ id: "a", agents: ["a"], certificate: { common_name: "a" } }], "has invalid keys: common_name"],
    [
      "a wildcard",
      [{ id: "a", agents: ["a"], certificate: { dns_name: "*.b" } }],
      '"*.b" is not a DNS name; wildcards are not taken',
    ],
    ["no SPIFFE id", [{ id: "a", agents: ["a"], certificate: { spiffe_id: "a" } }], '"a" is not a SPIFFE id'],
    ["an id twice", [refunds, { ...refunds, token_sha256: OTHER }], 'the id "refunds" stands there twice'],
    [
      "a token of two",
      [refunds, { ...refunds, id: "orders", token_sha256: HASH.toUpperCase() }],
      '"refunds" and "orders" have the same token; a credential is one identity',
    ],
    [
      "a name of two",
      [
        { id: "a", agents: ["a"], certificate: { dns_name: "x.y" } },
        { id: "b", agents: ["a"], certificate: { dns_name: "X.Y" } },
      ],
      '"a" and "b" have the same dns_name',
    ],
    ["the collector's name", [{ ...refunds, id: "Otel-Audit-collector" }], "which is the collector's own"],
    ["an id with a line break", [{ ...refunds, id: "a\nb" }], String.raw`"a\nb" is not an id`],
    ["a long tenant", [{ ...refunds, tenant: "t".repeat(200) }], "is not a tenant"],
    ["an unknown role", [{ ...refunds, roles: ["admin"] }], "credentials::0::roles::0"],
    ["no rate", [{ ...refunds, rate_limit: { records_per_second: 0 } }], "rate_limit::records_per_second"],
    ["an unknown key", [{ ...refunds, agent: "a" }], "has invalid keys: agent"],
  ])("refuses %s", (_what, credentials, message) => {
    const told = problem(credentials);
    expect(told).toContain("extensions::audit_credentials");
    expect(told).toContain(message);
    expect(told).not.toContain("hunter2");
  });
});
