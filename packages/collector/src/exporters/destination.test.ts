// Against an HTTPS server that asks for a certificate, answers pings like ClickHouse, and tells who came.
import { X509Certificate } from "node:crypto";
import { writeFileSync } from "node:fs";
import type { IncomingHttpHeaders } from "node:http";
import { createServer } from "node:https";
import { join } from "node:path";
import { TLSSocket } from "node:tls";
import { AuditWriter } from "@otel-audit/exporter-clickhouse";
import { afterEach, expect, it } from "vitest";
import { makeCertificate, writeCertificate, type Certificate } from "../../../../test/support/certificate.ts";
import { tempDir } from "../../../../test/support/index.ts";
import { listen } from "../../../../test/support/listen.ts";
import { testContext } from "../testing/context.ts";
import { clickhouseAuditConfig } from "./clickhouse_audit/config.ts";
import { resolveConnection } from "./destination.ts";

let closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.toReversed()) await close();
  closing = [];
});

interface Came {
  readonly headers: IncomingHttpHeaders;
  readonly fingerprint: string | undefined;
}

/** A server that trusts these clients. Each answer ends its connection. */
async function server(own: Certificate, clients: readonly Certificate[]): Promise<{ url: string; came: Came[] }> {
  const came: Came[] = [];
  const options = { ...own, ca: clients.map(({ cert }) => cert), requestCert: true };
  const https = createServer(options, ({ headers, socket }, response) => {
    const fingerprint = socket instanceof TLSSocket ? socket.getPeerCertificate().fingerprint256 : undefined;
    came.push({ headers, fingerprint });
    response.setHeader("connection", "close").end("1\n");
  });
  const port = await listen(https);
  closing.push(() => https.close());
  return { url: `https://127.0.0.1:${port}`, came };
}

function writer(endpoint: string, more: Record<string, unknown>): AuditWriter {
  const config = clickhouseAuditConfig.parse({ endpoint, username: "writer", ...more });
  const one = new AuditWriter(resolveConnection(config, testContext("clickhouse_audit")));
  closing.push(() => one.close());
  return one;
}

const fingerprint = ({ cert }: Certificate): string => new X509Certificate(cert).fingerprint256;

it("trusts ca_file, shows its certificate (the new one when the files change), and keeps its password", async () => {
  const dir = tempDir("destination");
  const own = makeCertificate([[0x82, "clickhouse.internal"]]);
  const [first, second] = [makeCertificate([[0x82, "a"]]), makeCertificate([[0x82, "a"]])];
  const { url, came } = await server(own, [first, second]);
  const ca_file = join(dir, "ca.pem");
  writeFileSync(ca_file, own.cert);
  expect(await writer(url, { password: "p" }).ping()).toMatchObject({ success: false, error: { code: "CONNECTION" } });
  expect(await writer(url, { password: "p", tls: { ca_file } }).ping()).toMatchObject({ success: false });
  expect(came).toEqual([]);
  const tls = {
    ca_file,
    server_name_override: "clickhouse.internal",
    reload_interval: "100ms",
    ...writeCertificate(dir, first),
  };
  const withPassword = writer(url, { password: "p", tls });
  expect(await withPassword.ping()).toEqual({ success: true });
  expect(came.at(-1)).toMatchObject({
    fingerprint: fingerprint(first),
    headers: { authorization: `Basic ${Buffer.from("writer:p").toString("base64")}` },
  });
  expect(came.at(-1)!.headers).not.toHaveProperty("x-clickhouse-ssl-certificate-auth");
  writeCertificate(dir, second);
  await expect
    .poll(async () => {
      await withPassword.ping();
      return came.at(-1)!.fingerprint;
    })
    .toBe(fingerprint(second));
});

it("is known by its certificate where there is no password", async () => {
  const dir = tempDir("destination");
  const own = makeCertificate();
  const { url, came } = await server(own, [own]);
  const ca_file = join(dir, "ca.pem");
  writeFileSync(ca_file, own.cert);
  expect(await writer(url, { tls: { ca_file, ...writeCertificate(dir, own) } }).ping()).toEqual({ success: true });
  expect(came.at(-1)!.headers).toMatchObject({
    "x-clickhouse-user": "writer",
    "x-clickhouse-ssl-certificate-auth": "on",
  });
  expect(came.at(-1)!.headers).not.toHaveProperty("authorization");
});

it("names the file that cannot be used, and refuses certificates for a connection without TLS", () => {
  const tls = { ca_file: "/nonexistent/ca.pem" };
  expect(() => writer("https://127.0.0.1:1", { tls })).toThrow(/^exporters::clickhouse_audit::tls::ca_file: ENOENT/);
  expect(() => writer("http://127.0.0.1:1", { tls })).toThrow("tls where it is https");
});
