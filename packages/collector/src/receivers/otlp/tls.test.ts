// Who may connect by TLS, and what becomes of certificates that change.
import { credentials, status } from "@grpc/grpc-js";
import { X509Certificate } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { describe, expect, it } from "vitest";
import { makeCertificate, writeCertificate, type Certificate } from "../../../../../test/support/certificate.ts";
import { tempDir } from "../../../../../test/support/index.ts";
import { both, call, post, startGuarded } from "../../testing/guarded-receiver.ts";

/** Certificates as files, and how a client uses them. */
function certificates(): { dir: string; server: Certificate; client: Certificate; tls: Record<string, string> } {
  const dir = tempDir("tls");
  const server = makeCertificate();
  const client = makeCertificate();
  const tls = write(dir, server, client);
  return { dir, server, client, tls };
}

function write(dir: string, server: Certificate, client: Certificate): Record<string, string> {
  writeFileSync(join(dir, "clients.crt"), client.cert);
  return writeCertificate(dir, server, "server");
}

describe("TLS", () => {
  it("serves both protocols, and nobody without TLS", async () => {
    const { server, tls } = certificates();
    const { receiver, principals } = await startGuarded(both({ tls }));
    const { otlpHttp, otlpGrpc } = receiver.endpoints;
    expect([otlpHttp, otlpGrpc]).toEqual([
      expect.stringMatching(/^https:\/\/127\.0\.0\.1:\d+$/),
      expect.stringMatching(/^https:\/\/127\.0\.0\.1:\d+$/),
    ]);
    expect((await post(otlpHttp!, { ca: server.cert })).status).toBe(200);
    expect(await call(otlpGrpc!, credentials.createSsl(Buffer.from(server.cert)))).toBeUndefined();
    await expect(post(otlpHttp!.replace("https", "http"))).rejects.toThrow(/./);
    expect((await call(otlpGrpc!))?.code).toBe(status.UNAVAILABLE);
    expect(principals).toEqual([undefined, undefined]);
  });

  it("refuses a version below the least", async () => {
    const { server, tls } = certificates();
    const { receiver } = await startGuarded({ http: { endpoint: "127.0.0.1:0", tls: { ...tls, min_version: "1.3" } } });
    const { otlpHttp } = receiver.endpoints;
    await expect(post(otlpHttp!, { ca: server.cert, maxVersion: "TLSv1.2" })).rejects.toThrow(/./);
    expect((await post(otlpHttp!, { ca: server.cert })).status).toBe(200);
  });

  it("asks for client certificates, and tells the authenticator whose they are", async () => {
    const { dir, server, client, tls } = certificates();
    const auth = { authenticator: "guard" };
    const { receiver, principals } = await startGuarded(
      both({ auth, tls: { ...tls, client_ca_file: join(dir, "clients.crt") } }),
    );
    const { otlpHttp, otlpGrpc } = receiver.endpoints;
    const ca = Buffer.from(server.cert);
    const [key, cert] = [Buffer.from(client.key), Buffer.from(client.cert)];
    const stranger = makeCertificate();
    expect((await post(otlpHttp!, { ca, key, cert })).status).toBe(200);
    expect(await call(otlpGrpc!, credentials.createSsl(ca, key, cert))).toBeUndefined();
    const { fingerprint256 } = new X509Certificate(cert);
    expect(principals).toEqual([fingerprint256, fingerprint256]);
    await expect(post(otlpHttp!, { ca })).rejects.toThrow(/./);
    await expect(post(otlpHttp!, { ca, ...stranger })).rejects.toThrow(/./);
    expect((await call(otlpGrpc!, credentials.createSsl(ca)))?.code).toBe(status.UNAVAILABLE);
    expect(principals).toHaveLength(2);
  });

  it("reads changed files again, keeps connections, and keeps the old ones while the new ones are broken", async () => {
    const { dir, server, client, tls } = certificates();
    const { receiver, logged, problems } = await startGuarded(both({ tls: { ...tls, reload_interval: "100ms" } }));
    for (const url of [receiver.endpoints.otlpHttp!, receiver.endpoints.otlpGrpc!]) {
      const open = await handshake(url);
      expect(open.getPeerX509Certificate()?.toString()).toBe(server.cert);
      open.end();
    }
    const kept = await handshake(receiver.endpoints.otlpHttp!);
    // A connection that has not asked anything is cut after a while.
    expect(await ask(kept)).toMatch(/^HTTP\/1\.1 200 /);
    writeFileSync(tls["cert_file"]!, "broken");
    await expect.poll(() => logged.filter((line) => line.includes("cannot be used")).length).toBe(2);
    expect(problems.get("receivers::otlp::protocols::http::tls")).toContain("the ones before stay in use");
    expect((await post(receiver.endpoints.otlpHttp!, { ca: server.cert })).status).toBe(200);
    const renewed = makeCertificate();
    write(dir, renewed, client);
    for (const url of [receiver.endpoints.otlpHttp!, receiver.endpoints.otlpGrpc!]) {
      await expect
        .poll(async () => {
          const open = await handshake(url);
          open.end();
          return open.getPeerX509Certificate()?.toString();
        })
        .toBe(renewed.cert);
    }
    expect([...problems]).toEqual([]);
    expect(await call(receiver.endpoints.otlpGrpc!, credentials.createSsl(Buffer.from(renewed.cert)))).toBeUndefined();
    expect(await ask(kept)).toMatch(/^HTTP\/1\.1 200 /);
    kept.destroy();
  });

  it("names the file that cannot be used", async () => {
    const { dir, tls } = certificates();
    const other = makeCertificate();
    writeFileSync(join(dir, "other.key"), other.key);
    await expect(startGuarded(both({ tls: { ...tls, cert_file: join(dir, "none.crt") } }))).rejects.toThrow(
      /^receivers::otlp::protocols::http::tls::cert_file: ENOENT/,
    );
    await expect(startGuarded(both({ tls: { ...tls, key_file: join(dir, "other.key") } }))).rejects.toThrow(
      /^receivers::otlp::protocols::http::tls: .*other\.key.*mismatch/,
    );
  });
});

function handshake(url: string): Promise<TLSSocket> {
  const { port } = new URL(url);
  const ALPNProtocols = ["h2", "http/1.1"];
  return new Promise((resolve, reject) => {
    const socket = connectTls({ port: Number(port), host: "127.0.0.1", rejectUnauthorized: false, ALPNProtocols });
    socket.once("secureConnect", () => resolve(socket)).on("error", reject);
  });
}

/** What comes back first for an empty request. */
function ask(socket: TLSSocket): Promise<string> {
  const answer = new Promise<string>((resolve) => socket.once("data", (chunk: Buffer) => resolve(chunk.toString())));
  socket.write(
    "POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
  );
  return answer;
}
