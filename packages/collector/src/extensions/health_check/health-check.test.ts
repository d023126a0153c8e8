import { once } from "node:events";
import { request } from "node:http";
import { networkInterfaces } from "node:os";
import { text } from "node:stream/consumers";
import { afterEach, expect, it } from "vitest";
import { testSupervision } from "../../testing/context.ts";
import { healthCheckConfig } from "./config.ts";
import { HealthCheck } from "./health-check.ts";

const running: HealthCheck[] = [];
afterEach(async () => {
  for (const one of running.splice(0)) await one.shutdown();
});

/** On all addresses, with one problem. */
async function start(settings: Record<string, unknown> = {}): Promise<{ port: string; well: () => void }> {
  const { context } = testSupervision("health_check");
  context.health.set("clickhouse_audit", "a reason");
  const check = new HealthCheck(healthCheckConfig.parse({ endpoint: "0.0.0.0:0", ...settings }), context);
  running.push(check);
  await check.start();
  return { port: new URL(check.endpoint!).port, well: () => context.health.set("clickhouse_audit", undefined) };
}

async function ask(
  url: string,
  { method = "GET", host }: { method?: string; host?: string } = {},
): Promise<{ status: number | undefined; body: string }> {
  const outgoing = request(url, { method, ...(host !== undefined && { headers: { host } }) }).end();
  const [response] = await once(outgoing, "response");
  return { status: response.statusCode, body: (await text(response)).trim() };
}

it("tells this machine why something is wrong, and others only that it is", async () => {
  const { port, well } = await start();
  const url = `http://127.0.0.1:${port}/`;
  const short = { status: 503, body: '{"status":"Server not available"}' };
  expect(await ask(url)).toEqual({
    status: 503,
    body: '{"status":"Server not available","problems":{"clickhouse_audit":"a reason"}}',
  });
  // A kubelet, a load balancer, a page in a browser that points a name of its own at this machine.
  expect(await ask(url, { host: "rebound.example" })).toEqual(short);
  const others = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  for (const { address } of others.filter(({ family, internal }) => family === "IPv4" && !internal)) {
    expect(await ask(`http://${address}:${port}/`)).toEqual(short);
    expect(await ask(`http://${address}:${port}/`, { host: "localhost" })).toEqual(short);
  }
  well();
  expect(await ask(url, { host: "rebound.example" })).toEqual({ status: 200, body: '{"status":"Server available"}' });
});

it("answers on its path and to questions only: no record is acknowledged by it", async () => {
  const { port } = await start({ path: "/health/status" });
  const base = `http://127.0.0.1:${port}`;
  expect((await ask(`${base}/health/status?verbose`)).status).toBe(503);
  expect(await ask(`${base}/health/status`, { method: "HEAD" })).toEqual({ status: 503, body: "" });
  expect((await ask(`${base}/health/status`, { method: "POST" })).status).toBe(405);
  expect((await ask(`${base}/v1/traces`, { method: "POST" })).status).toBe(404);
  expect((await ask(`${base}/`)).status).toBe(404);
});
