import { X509Certificate } from "node:crypto";
import { describe, expect, it } from "vitest";
import { makeCertificate, type AlternativeName } from "../../../../../test/support/certificate.ts";
import { certificateNames, isDnsName, isSpiffePattern, type CertificateNames } from "./certificate.ts";

const DNS = 0x82;
const URI = 0x86;
const names = (...extensions: AlternativeName[][]): CertificateNames =>
  certificateNames(new X509Certificate(makeCertificate(...extensions).cert));
const NONE: CertificateNames = { spiffeId: undefined, dnsNames: [] };

describe("certificateNames", () => {
  it("reads DNS names and the SPIFFE id", () => {
    expect(names()).toEqual({ spiffeId: undefined, dnsNames: ["localhost"] });
    expect(
      names([
        [DNS, "Agent.Example"],
        [URI, "spiffe://acme.example/ns/prod/agent/refunds"],
        [0x87, [10, 0, 0, 1]],
        [0x81, "me@acme.example"],
      ]),
    ).toEqual({ spiffeId: "spiffe://acme.example/ns/prod/agent/refunds", dnsNames: ["agent.example"] });
  });

  it.each<[string, AlternativeName[], CertificateNames]>([
    // As text these two are "DNS:evil.example, DNS:refunds.internal" (CVE-2021-44532).
    ["a comma", [[DNS, "evil.example, DNS:refunds.internal"]], NONE],
    ["a comma in a URI", [[URI, "https://evil/, URI:spiffe://acme/refunds"]], NONE],
    ["quotes", [[DNS, '"refunds.internal"']], NONE],
    ["a NUL", [[DNS, "refunds.internal\0.evil.example"]], NONE],
    ["a NUL at its end", [[DNS, "refunds.internal\0"]], NONE],
    ["a line break", [[DNS, "refunds.internal\n"]], NONE],
    ["a space", [[DNS, " refunds.internal"]], NONE],
    ["a wildcard", [[DNS, "*.internal"]], NONE],
    ["a dot at its end", [[DNS, "refunds.internal."]], NONE],
    ["no ASCII", [[DNS, "refunds\xe4.internal"]], NONE],
    ["nothing", [[DNS, ""]], NONE],
    ["a DNS name that is a URI", [[DNS, "spiffe://acme/refunds"]], NONE],
    ["a URI that is a DNS name", [[URI, "refunds.internal"]], NONE],
    ["an e-mail address", [[0x81, "spiffe://acme/refunds"]], NONE],
    ["another tag", [[0xa2, "refunds.internal"]], NONE],
    [
      "two URIs",
      [
        [URI, "spiffe://acme/refunds"],
        [URI, "spiffe://acme/orders"],
      ],
      NONE,
    ],
    [
      "a URI beside a SPIFFE id",
      [
        [URI, "https://acme/"],
        [URI, "spiffe://acme/orders"],
      ],
      NONE,
    ],
    ["a path that goes up", [[URI, "spiffe://acme/agents/../admin"]], NONE],
    ["a dot as a segment", [[URI, "spiffe://acme/./admin"]], NONE],
    ["an empty segment", [[URI, "spiffe://acme//admin"]], NONE],
    ["a slash at its end", [[URI, "spiffe://acme/admin/"]], NONE],
    ["a domain in capitals", [[URI, "spiffe://ACME/admin"]], NONE],
    ["another scheme", [[URI, "Spiffe://acme/admin"]], NONE],
    ["a port", [[URI, "spiffe://acme:443/admin"]], NONE],
    ["a user", [[URI, "spiffe://x@acme/admin"]], NONE],
    ["a query", [[URI, "spiffe://acme/admin?x"]], NONE],
    ["percent signs", [[URI, "spiffe://acme/%61dmin"]], NONE],
    ["a star", [[URI, "spiffe://acme/*"]], NONE],
    ["no path", [[URI, "spiffe://acme"]], NONE],
    ["too much", [[URI, `spiffe://acme/${"a".repeat(2048)}`]], NONE],
  ])("takes no identity from a name with %s", (_what, alternatives, expected) => {
    expect(names(alternatives)).toEqual(expected);
  });

  it("takes none from two extensions", () => {
    expect(names([[DNS, "a.internal"]], [[DNS, "b.internal"]])).toEqual(NONE);
  });
});

describe("patterns", () => {
  it.each([
    ["spiffe://acme/agents/refunds", true],
    ["spiffe://acme/agents/*", true],
    ["spiffe://acme/*", true],
    ["spiffe://acme", false],
    ["spiffe://*", false],
    ["spiffe://acme/a*", false],
    ["spiffe://acme/*/b", false],
    ["spiffe://acme/**", false],
    ["spiffe://acme/../*", false],
    ["https://acme/x", false],
    ["", false],
  ])("%j is a pattern of SPIFFE ids: %s", (text, expected) => {
    expect(isSpiffePattern(text)).toBe(expected);
  });

  it.each([
    ["refunds.internal", true],
    ["localhost", true],
    ["*.internal", false],
    ["a..b", false],
    ["-a.b", false],
    [`${"a".repeat(64)}.b`, false],
    ["a.b\n", false],
  ])("%j is a DNS name: %s", (text, expected) => {
    expect(isDnsName(text)).toBe(expected);
  });
});
