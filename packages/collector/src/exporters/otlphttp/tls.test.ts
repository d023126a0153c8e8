// Against HTTPS servers that ask for a certificate and tell who came.
import { X509Certificate } from "node:crypto";
import { writeFileSync } from "node:fs";
import { createServer, type Server } from "node:https";
import { join } from "node:path";
import { TLSSocket } from "node:tls";
import { afterEach, expect, it } from "vitest";
import { listen } from "../../../../../test/support/listen.ts";
import { makeCertificate, writeCertificate, type Certificate } from "../../../../../test/support/certificate.ts";
import { tempDir } from "../../../../../test/support/index.ts";
import type { SignalBatch } from "../../component.ts";
import { testContext } from "../../testing/context.ts";
import { otlphttpConfig } from "./config.ts";
import { OtlphttpExporter } from "./exporter.ts";

const logs: SignalBatch = {
  signal: "logs",
  bytes: Uint8Array.of(10, 6, 18, 4, 18, 0, 18, 0),
  contentType: "application/x-protobuf",
};

let closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.toReversed()) await close();
  closing = [];
});

/** A backend that takes only clients with a certificate of `clients`; each request's certificate, by fingerprint. */
async function backend(server: Certificate, clients?: Certificate): Promise<{ url: string; came: string[] }> {
  const came: string[] = [];
  const options = { ...server, ...(clients && { ca: clients.cert, requestCert: true }) };
  const https: Server = createServer(options, (incoming, response) => {
    const { socket } = incoming;
    came.push(socket instanceof TLSSocket ? (socket.getPeerCertificate().fingerprint256 ?? "nobody") : "");
    incoming.resume().once("end", () => response.end());
  });
  const port = await listen(https);
  closing.push(() => https.closeAllConnections());
  closing.push(() => https.close());
  return { url: `https://127.0.0.1:${port}`, came };
}

async function start(endpoint: string, tls: Record<string, unknown>): Promise<OtlphttpExporter> {
  const config = otlphttpConfig.parse({ endpoint, tls, retry_on_failure: { enabled: false } });
  const exporter = new OtlphttpExporter(config, testContext("otlphttp"));
  closing.push(() => exporter.shutdown());
  await exporter.start();
  return exporter;
}

async function send(exporter: OtlphttpExporter): Promise<void> {
  await exporter.forward(logs);
  expect(await exporter.drain(20_000)).toBe(true);
}

const fingerprint = ({ cert }: Certificate): string => new X509Certificate(cert).fingerprint256;

it("trusts the authorities of ca_file and nobody else, by the name that is configured", async () => {
  const dir = tempDir("otlphttp-tls");
  const named = makeCertificate([[0x82, "backend.internal"]]);
  const { url, came } = await backend(named);
  const ca_file = join(dir, "ca.pem");
  writeFileSync(ca_file, named.cert);
  await send(await start(url, {}));
  await send(await start(url, { ca_file }));
  expect(came).toEqual([]);
  await send(await start(url, { ca_file, server_name_override: "backend.internal" }));
  expect(came).toHaveLength(1);
  await send(await start(url, { insecure_skip_verify: true }));
  expect(came).toHaveLength(2);
});

it("shows its certificate, and the new one when the files change", async () => {
  const dir = tempDir("otlphttp-mtls");
  const server = makeCertificate();
  const [first, second] = [makeCertificate([[0x82, "a"]]), makeCertificate([[0x82, "a"]])];
  const { url, came } = await backend(server, { key: "", cert: first.cert + second.cert });
  const ca_file = join(dir, "ca.pem");
  writeFileSync(ca_file, server.cert);
  await send(await start(url, { ca_file }));
  expect(came).toEqual([]);
  const exporter = await start(url, { ca_file, ...writeCertificate(dir, first), reload_interval: "100ms" });
  await send(exporter);
  expect(came).toEqual([fingerprint(first)]);
  writeCertificate(dir, second);
  await expect
    .poll(async () => {
      await send(exporter);
      return came.at(-1);
    })
    .toBe(fingerprint(second));
});

it.each([
  ["a file that is not there", { ca_file: "/nonexistent/ca.pem" }, /^exporters::otlphttp::tls::ca_file: ENOENT/],
  [
    "a file without a certificate",
    { ca_file: import.meta.filename },
    /^exporters::otlphttp::tls::ca_file: ".*tls\.test\.ts" has no certificate/,
  ],
])("does not start with %s", async (_name, tls, message) => {
  await expect(start("https://127.0.0.1:1", tls)).rejects.toThrow(message);
});
