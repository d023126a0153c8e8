import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { request, type RequestOptions } from "node:https";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { pino } from "pino";
import { afterEach, expect, it } from "vitest";
import { makeCertificate } from "../../../../test/support/certificate.ts";
import { tempDir } from "../../../../test/support/index.ts";
import { documentSchema } from "../config/schema.ts";
import type { HttpServer } from "./http-server.ts";
import { HealthState } from "./health-state.ts";
import { metricsServer } from "./metrics-server.ts";

const log = pino({ level: "silent" });
const expose = async (): Promise<{ text: string; contentType: string }> => ({ text: "a 1\n", contentType: "x/y" });
const running: HttpServer[] = [];
afterEach(async () => {
  for (const server of running.splice(0)) await server.close();
});

async function start(metrics: Record<string, unknown>): Promise<string> {
  const { service } = documentSchema.parse({ service: { pipelines: {}, telemetry: { metrics } } });
  const server = metricsServer(service.telemetry.metrics, {
    log,
    health: new HealthState().of("test"),
    portOffset: 0,
    expose,
  })!;
  running.push(server);
  await server.listen();
  return server.url!.replace("0.0.0.0", "127.0.0.1");
}

it("names the setting whose port an offset moves too far", () => {
  const { service } = documentSchema.parse({
    service: { pipelines: {}, telemetry: { metrics: { address: "127.0.0.1:20000" } } },
  });
  const health = new HealthState().of("test");
  expect(() => metricsServer(service.telemetry.metrics, { log, health, portOffset: 52_000, expose })).toThrow(
    "--port-offset 52000 moves service::telemetry::metrics::address to port 72000; the highest is 65535",
  );
});

async function status(url: string, options: RequestOptions = {}): Promise<number> {
  const outgoing = (url.startsWith("https") ? request : httpRequest)(`${url}/metrics`, options).end();
  const [response] = await once(outgoing, "response");
  await text(response);
  return response.statusCode;
}

const foreign = { headers: { host: "collector.internal" } };

it("answers by any name where it listens for others, and only by its own where it does not", async () => {
  expect(await status(await start({ address: "127.0.0.1:0" }))).toBe(200);
  expect(await status(await start({ address: "127.0.0.1:0" }), foreign)).toBe(403);
  expect(await status(await start({ address: "0.0.0.0:0" }), foreign)).toBe(200);
});

it("answers those with a certificate only, where it has their authority", async () => {
  const dir = tempDir("metrics");
  const server = makeCertificate();
  const client = makeCertificate();
  const files = { "server.crt": server.cert, "server.key": server.key, "clients.pem": client.cert };
  for (const [name, pem] of Object.entries(files)) writeFileSync(join(dir, name), pem);
  const [cert_file, key_file, client_ca_file] = Object.keys(files).map((name) => join(dir, name));
  const url = await start({ address: "0.0.0.0:0", tls: { cert_file, key_file, client_ca_file } });
  expect(await status(url, { ca: server.cert, ...client })).toBe(200);
  await expect(status(url, { ca: server.cert })).rejects.toMatchObject({
    code: expect.stringMatching(/^ERR_SSL|ECONNRESET|EPIPE/) as string,
  });
});
