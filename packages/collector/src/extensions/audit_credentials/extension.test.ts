import { createHash, X509Certificate } from "node:crypto";
import { rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pino } from "pino";
import { afterEach, describe, expect, it } from "vitest";
import { tempDir } from "../../../../../test/support/index.ts";
import { makeCertificate, type AlternativeName } from "../../../../../test/support/certificate.ts";
import { AuthError, type Peer } from "../../auth.ts";
import { testContext, testSupervision, together } from "../../testing/context.ts";
import { auditCredentialsConfig } from "./config.ts";
import { CredentialsFile } from "./credentials-file.ts";
import { AuditCredentials } from "./extension.ts";
import { SharedState } from "./shared-state.ts";

const dir = tempDir("audit-credentials");
const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");
const bearer = (token: string): Peer => ({ authorization: `Bearer ${token}`, certificate: undefined });
const cert = (...names: AlternativeName[]): X509Certificate => new X509Certificate(makeCertificate(names).cert);
const uri = (text: string): AlternativeName => [0x86, text];
const dns = (text: string): AlternativeName => [0x82, text];
const yaml = (id: string, token: string): string =>
  `credentials:\n  - { id: ${id}, token_sha256: "${sha256(token)}", agents: ["${id}"] }\n`;
const memory = (): SharedArrayBuffer => new SharedArrayBuffer(SharedState.byteLength);
const logged: string[] = [];
let started: AuditCredentials | undefined;
let problems: () => ReadonlyMap<string, string>;

/** Both parts, as a service has them. */
async function start(config: Record<string, unknown>): Promise<AuditCredentials> {
  const log = pino({ level: "info" }, { write: (line: string) => void logged.push(line) });
  const id = "audit_credentials";
  const parsed = auditCredentialsConfig.parse(config);
  const supervision = testSupervision(id, { log });
  problems = () => supervision.context.health.problems();
  started = together(
    new CredentialsFile(parsed, supervision.context),
    new AuditCredentials(parsed, testContext(id, { log, told: supervision.told })),
  );
  await started.start();
  return started;
}
afterEach(() => {
  logged.length = 0;
  return started?.shutdown();
});

function refusal(extension: AuditCredentials, peer: Partial<Peer>): string {
  try {
    return extension.authenticate({ authorization: undefined, certificate: undefined, ...peer }).id;
  } catch (error) {
    if (error instanceof AuthError) return `${error.kind}: ${error.message}`;
    throw error;
  }
}

const TOKEN = "oat_correct-horse";
const NEXT = "oat_battery/staple+==";
const CREDENTIALS = [
  {
    id: "refunds",
    token_sha256: [sha256(TOKEN), sha256(NEXT)],
    agents: ["refunds"],
    tenant: "acme",
    roles: ["policy"],
  },
  { id: "agents", certificate: { spiffe_id: "spiffe://acme/agents/*" }, agents: ["*"] },
  { id: "orders", certificate: { spiffe_id: "spiffe://acme/agents/orders" }, agents: ["orders"] },
  { id: "host", certificate: { dns_name: "Host.internal" }, agents: ["host"] },
];

describe("tokens", () => {
  it("are known by their hashes, an old and a new one at the same time", async () => {
    const extension = await start({ credentials: CREDENTIALS });
    const principal = extension.authenticate(bearer(TOKEN));
    expect(principal).toMatchObject({ id: "refunds", tenant: "acme", agents: ["refunds"] });
    expect([...principal.roles]).toEqual(["policy"]);
    expect(extension.authenticate(bearer(NEXT))).toBe(principal);
    expect(extension.authenticate({ ...bearer(""), authorization: `bEARER   ${TOKEN}` })).toBe(principal);
    expect([principal.speaksFor("agent:refunds", "agent"), principal.speaksFor("orders", "agent")]).toEqual([
      true,
      false,
    ]);
  });

  const unknown = "unauthenticated: the token is not known";
  const malformed = "unauthenticated: the Authorization header is not `Bearer <token>`";
  it.each<[string, string, string]>([
    ["another token", `Bearer ${TOKEN}x`, unknown],
    ["a part of it", `Bearer ${TOKEN.slice(0, -1)}`, unknown],
    ["another case", `Bearer ${TOKEN.toUpperCase()}`, unknown],
    ["its hash", `Bearer ${sha256(TOKEN)}`, unknown],
    ["a name of every object", "Bearer __proto__", unknown],
    ["nothing", "", malformed],
    ["no token", "Bearer ", malformed],
    ["another scheme", `Basic ${TOKEN}`, malformed],
    ["no scheme", TOKEN, malformed],
    ["two headers that were joined", `Bearer ${TOKEN}, Bearer ${TOKEN}`, malformed],
    ["two tokens", `Bearer ${TOKEN} ${NEXT}`, malformed],
    ["a space behind it", `Bearer ${TOKEN} `, malformed],
    ["a tab", `Bearer\t${TOKEN}`, malformed],
    ["a NUL", `Bearer ${TOKEN}\0`, malformed],
    ["a line break", `Bearer ${TOKEN}\n`, malformed],
    ["a very long token", `Bearer ${"a".repeat(1_000_000)}`, malformed],
    ["no ASCII", "Bearer é", malformed],
  ])("refuse %s", async (_what, authorization, message) => {
    const extension = await start({ credentials: CREDENTIALS });
    expect(refusal(extension, { authorization })).toBe(message);
    expect(logged.join("")).toContain("requests are refused for who sent them");
    expect(logged.join("")).not.toContain("horse");
  });
});

describe("certificates", () => {
  it.each<[string, Partial<Peer>, string]>([
    ["nothing at all", {}, "unauthenticated: who are you?"],
    ["an exact id before a pattern", { certificate: cert(uri("spiffe://acme/agents/orders")) }, "orders"],
    ["an id below a pattern", { certificate: cert(uri("spiffe://acme/agents/orders/7")) }, "agents"],
    [
      "the pattern's own place",
      { certificate: cert(uri("spiffe://acme/agents")) },
      "unauthenticated: no credential has",
    ],
    [
      "a name that begins like it",
      { certificate: cert(uri("spiffe://acme/agents-evil/x")) },
      "unauthenticated: no credential has",
    ],
    ["another domain", { certificate: cert(uri("spiffe://evil/agents/orders")) }, "unauthenticated: no credential has"],
    ["a DNS name in another case", { certificate: cert(dns("host.INTERNAL")) }, "host"],
    ["a name below it", { certificate: cert(dns("a.host.internal")) }, "unauthenticated: no credential has"],
    [
      "a spoofed list",
      { certificate: cert(dns("evil.example, DNS:host.internal")) },
      "unauthenticated: no credential has",
    ],
    [
      "two identities",
      { certificate: cert(uri("spiffe://acme/agents/orders"), dns("host.internal")) },
      'forbidden: the certificate\'s names belong to two credentials, "orders" and "host"',
    ],
    ["a token over a certificate of nobody", { ...bearer(TOKEN), certificate: cert(dns("proxy.internal")) }, "refunds"],
    [
      "somebody else's token",
      { ...bearer(TOKEN), certificate: cert(dns("host.internal")) },
      'forbidden: the token belongs to "refunds" and the certificate to "host"',
    ],
    [
      "a wrong token over a good certificate",
      { ...bearer("x"), certificate: cert(dns("host.internal")) },
      "unauthenticated: the token is not known",
    ],
  ])("%s", async (_what, peer, expected) => {
    expect(refusal(await start({ credentials: CREDENTIALS }), peer)).toContain(expected);
  });
});

describe("the file", () => {
  it("is read again when it changes, also in place of another; a broken one changes nothing and is told once", async () => {
    const file = join(dir, "credentials.yaml");
    await writeFile(file, yaml("a", "one"));
    const extension = await start({ credentials: CREDENTIALS, file, reload_interval: "50ms" });
    expect([refusal(extension, bearer("one")), refusal(extension, bearer(TOKEN))]).toEqual(["a", "refunds"]);

    await writeFile(`${file}.new`, yaml("b", "two"));
    await rename(`${file}.new`, file);
    await expect.poll(() => refusal(extension, bearer("two"))).toBe("b");
    expect(refusal(extension, bearer("one"))).toBe("unauthenticated: the token is not known");

    logged.length = 0;
    for (const [text, reason] of [
      ["credentials: [", "credentials.yaml:"],
      [yaml("b", "two").replace("token_sha256", "token"), "has to be token_sha256"],
      [yaml("refunds", "two"), 'the id \\"refunds\\" stands there twice'],
      ["", "credentials"],
    ] as const) {
      // In one step: a file that is still empty is another trouble.
      await writeFile(`${file}.new`, text);
      await rename(`${file}.new`, file);
      await expect.poll(() => logged.join("")).toContain(reason);
    }
    await rm(file);
    await expect.poll(() => logged.join("")).toContain("ENOENT");
    await new Promise((resolve) => setTimeout(resolve, 200));
    const told = logged.filter((line) => line.includes("credentials stay as they were before"));
    expect(told.length).toBe(new Set(told.map((line) => /"reason":"(.*?)","msg/.exec(line)![1])).size);
    expect(refusal(extension, bearer("two"))).toBe("b");
    expect(problems().get("audit_credentials")).toMatch(/^credentials stay as they were before: ENOENT/);

    await writeFile(file, yaml("c", "three"));
    await expect.poll(() => refusal(extension, bearer("three"))).toBe("c");
    await expect.poll(() => [...problems()]).toEqual([]);
  });

  it.each([
    ["is not there", undefined, "ENOENT"],
    ["is broken", "credentials: 7", "credentials: Invalid input: expected array, received number"],
    ["repeats what the configuration has", yaml("refunds", "x"), 'the id "refunds" stands there twice'],
  ])("that %s refuses the start", async (_what, text, message) => {
    const file = join(dir, "bad.yaml");
    await rm(file, { force: true });
    if (text !== undefined) await writeFile(file, text);
    await expect(start({ credentials: CREDENTIALS, file })).rejects.toThrow(message);
    await expect(start({ credentials: CREDENTIALS, file })).rejects.toThrow("extensions::audit_credentials::file: ");
  });
});

describe("SharedState", () => {
  const limit = { recordsPerSecond: 1, burst: 100 };

  it("counts together what workers take, and says when there is room again", () => {
    const shared = memory();
    const workers = [new SharedState(shared), new SharedState(shared)];
    const slots = workers.map((worker) => worker.slot("refunds"));
    expect(slots[0]).toBe(slots[1]);
    const taken = Array.from({ length: 40 }, (_, i) => workers[i % 2]!.take(slots[0]!, 3, limit)).filter(
      (wait) => wait === 0,
    );
    expect(taken.length).toBe(33);
    const wait = workers[0]!.take(slots[0]!, 10, limit);
    expect([wait > 5_000, wait <= 10_000]).toEqual([true, true]);
    // Nothing was counted, and what is given back can be taken.
    workers[1]!.giveBack(slots[1]!, 30, limit);
    expect(workers[0]!.take(slots[0]!, 30, limit)).toBe(0);
    expect(workers[0]!.take(workers[0]!.slot("orders"), 100, limit)).toBe(0);
  });

  it("lets a request that is larger than the burst pass when nothing else did, and makes it wait for that", () => {
    const state = new SharedState(memory());
    const slot = state.slot("refunds");
    expect(state.take(slot, 1_000_000, limit)).toBe(0);
    expect(state.take(slot, 1, limit)).toBeGreaterThan(999_000 * 1000 - 60_000);
    const slow = state.slot("slow");
    for (let i = 0; i < 3; i++) state.take(slow, 1e9, { recordsPerSecond: 1e-9, burst: 1 });
    expect(state.take(slow, 1, { recordsPerSecond: 1e-9, burst: 1 })).toBeGreaterThan(0);
  });

  it("finds each misuse new once, for some agents of each credential", () => {
    const shared = memory();
    const [state, other] = [new SharedState(shared), new SharedState(shared)];
    const slot = state.slot("refunds");
    expect([state.isNewMisuse(slot, "a"), other.isNewMisuse(slot, "a"), other.isNewMisuse(slot, "b")]).toEqual([
      true,
      false,
      true,
    ]);
    const flood = Array.from({ length: 1000 }, (_, i) => state.isNewMisuse(slot, `x${i}`)).filter(Boolean);
    expect(flood.length).toBe(6);
    expect(state.isNewMisuse(state.slot("orders"), "a")).toBe(true);
  });

  it("has a place for each of many credentials, and an end", () => {
    const state = new SharedState(memory());
    const slots = new Set(Array.from({ length: 16_384 }, (_, i) => state.slot(`c${i}`)));
    expect(slots.size).toBe(16_384);
    expect(state.slot("c7")).toBe(new SharedState(memory()).slot("c7"));
    expect(() => state.slot("one more")).toThrow("more than 16384 different credentials");
  });
});
