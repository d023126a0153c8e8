import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { get } from "node:https";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, expect, it } from "vitest";
import { startHttpApi, type HttpApi } from "./http-api.ts";

let api: HttpApi;

beforeEach(async () => {
  api = await startHttpApi({ routes: { "POST /v1/refunds": { status: 201, body: { id: "r-1" } } } });
});

afterEach(() => api.close());

it("answers what it was asked, and logs it", async () => {
  const response = await fetch(`${api.url}/v1/orders/7?full=1`, {
    method: "PUT",
    headers: { "x-agent": "refunds" },
    body: '{"a":1}',
  });
  expect(response.status).toBe(200);
  const asked = { method: "PUT", path: "/v1/orders/7", query: { full: "1" }, body: '{"a":1}' };
  expect(await response.json()).toEqual(asked);
  expect(api.requests).toEqual([{ ...asked, headers: expect.objectContaining({ "x-agent": "refunds" }) as unknown }]);
});

it("answers by route, exact before wildcard, nearest wildcard first", async () => {
  api.on("GET /v1/*", { body: "far" });
  api.on("GET /v1/refunds/*", ({ path }) => ({ body: `near ${path}` }));
  api.on("GET /v1/refunds/9", { body: "exact" });
  const get = async (path: string): Promise<unknown> => (await fetch(api.url + path)).json();
  expect(await get("/v1/x")).toBe("far");
  expect(await get("/v1/refunds/8")).toBe("near /v1/refunds/8");
  expect(await get("/v1/refunds/9")).toBe("exact");
  const created = await fetch(`${api.url}/v1/refunds`, { method: "POST", body: "{}" });
  expect(created.status).toBe(201);
  expect(await created.json()).toEqual({ id: "r-1" });
});

it("fails as often as told, then answers again; failed requests are logged too", async () => {
  api.failNext({ status: 503, headers: { "retry-after": "1" } }, 2);
  const statuses = [];
  for (let i = 0; i < 3; i++) statuses.push((await fetch(api.url)).status);
  expect(statuses).toEqual([503, 503, 200]);
  expect(api.requests).toHaveLength(3);
  api.clear();
  expect(api.requests).toHaveLength(0);
});

it("cuts the connection when told", async () => {
  api.failNext({ destroy: true });
  await expect(fetch(api.url)).rejects.toThrow("fetch failed");
  expect(api.requests).toHaveLength(1);
});

it("is gone after close, open connections included", async () => {
  await fetch(api.url);
  await api.close();
  await expect(fetch(api.url)).rejects.toThrow("fetch failed");
});

it("speaks HTTPS to those who trust its certificate, by address and by name", async () => {
  await using secure = await startHttpApi({ tls: true });
  const { ca = "", port } = secure;
  for (const host of ["127.0.0.1", "localhost"]) {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      get({ host, port, path: `/${host}`, ca, agent: false, family: 4 }, resolve).once("error", reject);
    });
    expect(JSON.parse(await text(response))).toMatchObject({ path: `/${host}` });
  }
  const distrusting = once(get({ host: "127.0.0.1", port, agent: false }), "response");
  await expect(distrusting).rejects.toMatchObject({ code: "DEPTH_ZERO_SELF_SIGNED_CERT" });
});
