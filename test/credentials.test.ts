// Who may speak, and as whom: a collector in a process of its own that knows its senders, and what they try.
import { credentials as grpcCredentials, Metadata } from "@grpc/grpc-js";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-grpc";
import { SimpleSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";
import { encodeTraces, type AttributeValue } from "@otel-audit/otlp";
import { createHash, randomBytes } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { makeCertificate } from "./support/certificate.ts";
import { otelAudit, startCollector, startProcess, tempDir, type RunningCollector } from "./support/index.ts";

type Attributes = Readonly<Record<string, AttributeValue>>;

const dir = tempDir("credentials");
const file = (name: string, text = ""): string => {
  writeFileSync(join(dir, name), text);
  return join(dir, name);
};
const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");
const token = (name: string): string => `oat_${name}-hunter2`;
const entry = (id: string, more: string): string =>
  `  - { id: ${id}, token_sha256: "${sha256(token(id))}", ${more} }\n`;
const CREDENTIALS = `credentials:
${entry("refunds", "agents: [refunds], tenant: acme")}${entry("orders", "agents: [orders], tenant: globex")}${entry("guard", "agents: [guard], roles: [policy, review]")}${entry("slow", "agents: [slow], rate_limit: { records_per_second: 0.01, burst: 20 }")}${entry("shipped", "agents: [shipped]")}
  - { id: workload, certificate: { spiffe_id: "spiffe://acme/agents/*" }, agents: ["workload-*"] }
`;
const server = makeCertificate();
const client = makeCertificate([[0x86, "spiffe://acme/agents/one"]]);
const spoofed = makeCertificate([[0x82, "evil.example, URI:spiffe://acme/agents/one"]]);
const stranger = makeCertificate([[0x86, "spiffe://acme/agents/one"]]);

let collector: RunningCollector;
let dataDir: string;
beforeAll(async () => {
  dataDir = tempDir("credentials-data");
  collector = await startCollector({
    dataDir,
    config: join(import.meta.dirname, "credentials.yaml"),
    env: {
      TEST_CREDENTIALS: file("credentials.yaml", CREDENTIALS),
      TEST_CERT: file("server.pem", server.cert),
      TEST_KEY: file("server.key", server.key),
      TEST_CLIENT_CA: file("clients.pem", client.cert + spoofed.cert),
    },
  });
});
afterAll(() => collector[Symbol.asyncDispose]());

function body(service: string, spans: readonly Attributes[]): Buffer {
  const time = BigInt(Date.now()) * 1_000_000n;
  const encoded = encodeTraces({
    resourceSpans: [
      {
        resource: { attributes: { "service.name": service, "audit.tenant.id": "globex" } },
        scopeSpans: [
          {
            scope: { name: "test" },
            spans: spans.map((attributes) => ({
              traceId: randomBytes(16).toString("hex"),
              spanId: randomBytes(8).toString("hex"),
              name: "file.read",
              startTimeUnixNano: time,
              endTimeUnixNano: time,
              attributes: {
                "audit.action": "READ",
                "audit.event.name": "file.read",
                "audit.actor.type": "agent",
                ...attributes,
              },
            })),
          },
        ],
      },
    ],
  });
  return Buffer.from(encoded);
}

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

async function post(content: Buffer, authorization?: string): Promise<Answer> {
  const response = await fetch(`${collector.endpoints.otlpHttp}/v1/traces`, {
    method: "POST",
    headers: { "content-type": "application/x-protobuf", ...(authorization !== undefined && { authorization }) },
    body: new Uint8Array(content),
  });
  return { status: response.status, headers: response.headers, text: await response.text() };
}
const send = (service: string, as: string, ...spans: Attributes[]): Promise<Answer> =>
  post(body(service, spans), `Bearer ${token(as)}`);

interface Row {
  readonly ActorId: string;
  readonly Principal: string;
  readonly Provenance: string;
  readonly TenantId: string;
}

/** For what has to come about. */
const PATIENCE = { timeout: 30_000, interval: 100 };

/** Rows of a service, once there are so many. */
async function rows(service: string, count: number): Promise<Row[]> {
  const sql = `SELECT ActorId, Principal, Provenance, TenantId FROM audit_events WHERE ServiceName = '${service}' ORDER BY ActorId, Principal`;
  return vi.waitFor(async () => {
    const found = await collector.sql<Row>(sql);
    expect(found.length).toBe(count);
    return found;
  }, PATIENCE);
}
const row = (ActorId: string, Principal: string, Provenance: string, TenantId: string): Row => ({
  ActorId,
  Principal,
  Provenance,
  TenantId,
});

async function exportAs(
  certificate: { cert: string; key: string },
  actor: string,
  bearer?: string,
): Promise<Error | undefined> {
  const metadata = new Metadata();
  if (bearer !== undefined) metadata.set("authorization", `Bearer ${bearer}`);
  const exporter = new OTLPTraceExporter({
    url: collector.endpoints.otlpGrpc!.replace("http:", "https:"),
    credentials: grpcCredentials.createSsl(
      Buffer.from(server.cert),
      Buffer.from(certificate.key),
      Buffer.from(certificate.cert),
    ),
    metadata,
    timeoutMillis: 5_000,
  });
  let failed: Error | undefined;
  const processor = new SimpleSpanProcessor({
    exporter: {
      forceFlush: async () => {},
      shutdown: () => exporter.shutdown(),
      export: (spans, done) =>
        exporter.export(spans, (result) => {
          failed = result.error;
          done(result);
        }),
    },
  });
  const provider = new TracerProvider({ spanProcessors: [processor] });
  provider
    .getTracer("grpc")
    .startSpan("s", {
      attributes: {
        "audit.action": "READ",
        "audit.actor.id": actor,
        "audit.actor.type": "agent",
        "audit.workflow.id": "grpc",
      },
    })
    .end();
  await provider.shutdown();
  return failed;
}

const run = (
  agent: string,
  bearer: string,
  spool: string,
  endpoint = collector.endpoints.otlpHttp,
): ReturnType<typeof startProcess> =>
  startProcess(
    process.execPath,
    [
      "--import",
      "@otel-audit/instrumentation-node/register",
      "-e",
      "require('node:fs').writeFileSync(process.env.OUT, 'x')",
    ],
    {
      env: {
        OTEL_AUDIT_AGENT_ID: agent,
        OTEL_SERVICE_NAME: spool,
        OTEL_AUDIT_SPOOL_DIR: join(dir, spool),
        OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT: endpoint,
        OTEL_AUDIT_EXPORTER_OTLP_HEADERS: `authorization=Bearer%20${bearer}`,
        OUT: join(dir, "out.txt"),
      },
    },
  );
const ship = async (spool: string, headers: string): Promise<{ code: number | null; text: string }> => {
  await using child = await startProcess(process.execPath, [otelAudit, "ship", join(dir, spool), "--timeout", "5"], {
    env: {
      OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT: collector.endpoints.otlpHttp,
      OTEL_AUDIT_EXPORTER_OTLP_HEADERS: headers,
    },
  });
  const { code } = await child.exited;
  return { code, text: child.stdout + child.stderr };
};

describe("tokens over HTTP", () => {
  it("make records verified, and say whose they are and of which tenant, whatever the producer says", async () => {
    const forged = {
      "audit.tenant.id": "globex",
      "audit.actor.provenance": "verified",
      "audit.actor.principal.id": "orders",
    };
    const answer = await send("own", "refunds", { "audit.actor.id": "refunds", ...forged }, forged);
    expect([answer.status, answer.text]).toEqual([200, ""]);
    expect(await rows("own", 2)).toEqual([
      row("", "refunds", "unattributed", "acme"),
      row("refunds", "refunds", "verified", "acme"),
    ]);
  });

  it("keep the same record id of two senders apart", async () => {
    const record = { "audit.record.id": "01J-the-same" };
    await send("same-id", "refunds", { ...record, "audit.actor.id": "refunds" });
    await send("same-id", "orders", { ...record, "audit.actor.id": "orders" });
    expect(await rows("same-id", 2)).toEqual([
      row("orders", "orders", "verified", "globex"),
      row("refunds", "refunds", "verified", "acme"),
    ]);
  });

  it("refuse another's name and control records without the role, that span only; the misuse is on record once", async () => {
    const others = Array.from({ length: 20 }, () => ({ "audit.actor.id": "orders" }));
    const control = { "audit.event.name": "policy.loaded", "audit.actor.id": "system:otel-audit" };
    const answer = await send("names", "refunds", { "audit.actor.id": "refunds" }, ...others, control);
    expect(answer.status).toBe(200);
    expect(answer.text).toContain('credential "refunds" does not belong to "orders"');
    expect(answer.text).toContain('the role "policy" sends "policy.loaded"');
    await Promise.all([1, 2, 3, 4].map(() => send("names", "refunds", { "audit.actor.id": "orders" })));
    await send("names", "guard", control);
    expect(await rows("names", 2)).toEqual([
      row("refunds", "refunds", "verified", "acme"),
      row("system:otel-audit", "guard", "verified", ""),
    ]);
    // In a segment of its own, perhaps of another worker: the others may be in the table before it.
    const shared =
      "SELECT ActorId, CredentialId, Principal, TenantId, SpanAttributes['audit.credential.asserted'] AS asserted FROM audit_events WHERE EventName = 'credential.shared' AND CredentialId = 'refunds'";
    const us = "otel-audit-collector";
    await expect
      .poll(() => collector.sql(shared))
      .toEqual([{ ActorId: us, CredentialId: "refunds", Principal: us, TenantId: "acme", asserted: "orders" }]);
  });

  it("tell some of many reasons: who sends decides how many there are", async () => {
    const many = Array.from({ length: 2_000 }, (_, i) => ({ "audit.actor.id": `${i}-${"x".repeat(200)}` }));
    const answer = await send("many", "guard", ...many, { "audit.actor.id": "guard" });
    expect([answer.status, answer.text.length < 2_000]).toEqual([200, true]);
    expect(answer.text).toContain("more reasons");
    expect((await rows("many", 1)).length).toBe(1);
  });

  it.each<[string, string | undefined]>([
    ["none", undefined],
    ["one that is not known", "Bearer oat_unknown"],
    ["one in another case", `Bearer ${token("refunds").toUpperCase()}`],
    ["its hash", `Bearer ${sha256(token("refunds"))}`],
    ["one with more behind it", `Bearer ${token("refunds")}, Bearer ${token("orders")}`],
    ["a long one", `Bearer ${"a".repeat(12_000)}`],
    ["Basic", `Basic ${Buffer.from(`refunds:${token("refunds")}`).toString("base64")}`],
  ])("are needed: %s is answered 401, with a Status, and nothing is taken", async (_what, authorization) => {
    const answer = await post(body("nobody", [{ "audit.actor.id": "refunds" }]), authorization);
    expect(answer.status).toBe(401);
    expect(answer.headers.get("www-authenticate")).toBe("Bearer");
    expect(answer.text).not.toContain("hunter2");
  });

  it("are one identity: two Authorization headers, a NUL, a folded line are none", async () => {
    const { hostname, port } = new URL(collector.endpoints.otlpHttp);
    const content = body("nobody", [{ "audit.actor.id": "refunds" }]);
    const raw = (headers: string): Promise<string> =>
      new Promise((resolve, reject) => {
        const socket = connect(Number(port), hostname, () => {
          socket.write(
            `POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Length: ${content.length}\r\n${headers}Connection: close\r\n\r\n`,
          );
          socket.write(content);
        });
        let text = "";
        socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
        socket.on("close", () => resolve(text.split("\r\n", 1)[0]!)).on("error", reject);
      });
    const good = `Authorization: Bearer ${token("refunds")}\r\n`;
    expect(await raw(good.replace("Bearer", "bEaReR").replace("Authorization", "AUTHORIZATION"))).toContain(" 200 ");
    expect(await raw(`${good}${good}`)).toContain(" 401 ");
    expect(await raw(`${good}Authorization: Bearer ${token("orders")}\r\n`)).toContain(" 401 ");
    expect(await raw(`Authorization: Bearer x\r\n${good}`)).toContain(" 401 ");
    expect(await raw(good.replace("\r\n", "\0\r\n"))).toContain(" 400 ");
    expect(await raw(good.replace("Bearer ", "Bearer\r\n "))).toMatch(/ 40[01] /);
    expect(await rows("nobody", 1)).toEqual([row("refunds", "refunds", "verified", "acme")]);
  });

  it("are refused before a body is read", async () => {
    const status = await new Promise<number | undefined>((resolve, reject) => {
      const outgoing = httpRequest(
        `${collector.endpoints.otlpHttp}/v1/traces`,
        { method: "POST", headers: { "content-type": "application/x-protobuf", "content-length": 50_000_000 } },
        (response) => {
          resolve(response.statusCode);
          outgoing.destroy();
        },
      );
      outgoing.on("error", reject);
      outgoing.write("x");
    });
    expect(status).toBe(401);
  });

  it("have rates: 429 with the time to wait, over all workers, and nothing half taken", async () => {
    const one = body(
      "slow",
      Array.from({ length: 5 }, () => ({ "audit.actor.id": "slow" })),
    );
    const answers: Answer[] = [];
    // Each on a connection of its own, so that both workers see some.
    for (let i = 0; i < 8; i++) answers.push(await post(one, `Bearer ${token("slow")}`));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 429, 429, 429, 429]);
    expect(Number(answers[7]!.headers.get("retry-after"))).toBeGreaterThan(300);
    expect((await rows("slow", 5)).length).toBe(5);
  });
});

describe("client certificates over gRPC", () => {
  it("speak for the agents of their SPIFFE id, and nobody else does", async () => {
    expect(await exportAs(client, "workload-7")).toBeUndefined();
    expect(String(await exportAs(stranger, "workload-8"))).toMatch(/UNAVAILABLE|certificate|ECONN|Deadline|socket/i);
    expect(String(await exportAs(spoofed, "workload-9"))).toContain("UNAUTHENTICATED");
    expect(String(await exportAs(client, "workload-10", token("refunds")))).toContain("PERMISSION_DENIED");
    expect(await exportAs(spoofed, "refunds", token("refunds"))).toBeUndefined();
    const sql =
      "SELECT ActorId, Principal, Provenance, TenantId FROM audit_events WHERE WorkflowId = 'grpc' ORDER BY ActorId";
    await vi.waitFor(
      async () =>
        expect(await collector.sql<Row>(sql)).toEqual([
          row("refunds", "refunds", "verified", "acme"),
          row("workload-7", "workload", "verified", ""),
        ]),
      PATIENCE,
    );
  });
});

describe("an audited process", () => {
  it("sends its token; its records are verified", async () => {
    await using child = await run("refunds", token("refunds"), "agent");
    await child.exited;
    await ship("agent", `authorization=Bearer%20${token("refunds")}`);
    // process.start, what it did, process.summary.
    expect(await rows("agent", 3)).toEqual([
      row("refunds", "refunds", "verified", "acme"),
      row("system:otel-audit", "refunds", "verified", "acme"),
      row("system:otel-audit", "refunds", "verified", "acme"),
    ]);
    expect(child.stdout + child.stderr).not.toContain("hunter2");
  });

  it("keeps its records, without its token, when that is not known, and `ship` sends them with another", async () => {
    await using child = await run("shipped", "oat_revoked", "shipped");
    await child.exited;
    const refused = await ship("shipped", "authorization=Bearer%20oat_revoked");
    expect(refused).toMatchObject({ code: 1, text: expect.stringContaining("401") as string });
    expect(refused.text).not.toContain("oat_revoked");
    const kept = readdirSync(join(dir, "shipped"), { recursive: true, withFileTypes: true })
      .filter((one) => one.isFile())
      .map((one) => readFileSync(join(one.parentPath, one.name), "latin1"))
      .join("");
    expect(kept).toContain("process.start");
    expect(kept).not.toContain("revoked");
    const sent = await ship("shipped", `authorization=Bearer%20${token("shipped")}`);
    expect(sent.code).toBe(0);
    expect((await rows("shipped", 3)).map(({ Provenance }) => Provenance)).toEqual(Array(3).fill("verified"));
  });
});

describe("a token that is taken out of the file", () => {
  it("is refused from then on, on connections that are open too; no token is ever logged", async () => {
    expect((await send("revoked", "orders", { "audit.actor.id": "orders" })).status).toBe(200);
    file("credentials.yaml", CREDENTIALS.replace(sha256(token("orders")), sha256("another")));
    await vi.waitFor(async () => expect((await send("revoked", "orders")).status).toBe(401), PATIENCE);
    expect((await send("revoked", "refunds", { "audit.actor.id": "refunds" })).status).toBe(200);
    await expect.poll(() => collector.process.stderr).toContain("credentials were read again");
    await expect.poll(() => collector.process.stderr).toContain("requests are refused for who sent them");
    expect(collector.process.stdout + collector.process.stderr).not.toMatch(/hunter2/);
    const metrics = async (): Promise<string> => (await fetch(`${collector.endpoints.metrics}/metrics`)).text();
    await expect.poll(metrics).toMatch(/otel_audit_mismatched_records\{[^}]*credential="refunds"[^}]*\} \d/);
    await expect.poll(metrics).toMatch(/otel_audit_rate_limited_records\{[^}]*credential="slow"[^}]*\} 20\n/);
    expect(await metrics()).not.toContain("hunter2");
  });
});
