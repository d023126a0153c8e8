import * as fc from "fast-check";
import { expect, test } from "vitest";

import { canonicalHost, canonicalPath, httpAction, type HttpDestination } from "./target.ts";

const PLAIN: HttpDestination = { method: "GET", scheme: "https", host: "pay.internal", port: undefined, path: "/" };

function ids(destination: Partial<HttpDestination>): string[] {
  return httpAction({ ...PLAIN, ...destination }).targets.map(({ id }) => id);
}

test.each([
  [{}, ["https://pay.internal/"]],
  [{ path: "/v1/refunds?card=4242#x" }, ["https://pay.internal/v1/refunds"]],
  [{ port: 443 }, ["https://pay.internal/"]],
  [{ port: "8443", scheme: "http" }, ["http://pay.internal:8443/"]],
  [{ scheme: "http", port: 80 }, ["http://pay.internal/"]],
  [{ host: "PAY.Internal." }, ["https://pay.internal/"]],
  [{ host: "user:secret@pay.internal" }, ["https://user%3Asecret%40pay.internal/"]],
  [{ host: "::1", port: 8080 }, ["https://[::1]:8080/"]],
  [
    { socketPath: "/var/run/docker.sock", scheme: "http", path: "/info?x" },
    ["unix:/var/run/docker.sock", "http://pay.internal/info"],
  ],
  [{ path: "http://pay.internal/x", scheme: "http" }, ["http://pay.internal/x"]],
  [
    { path: "http://u:p@far.example:8080/a/../b?x", host: "proxy", port: 3128, scheme: "http" },
    ["http://far.example:8080/b", "http://proxy:3128/"],
  ],
  [
    { method: "CONNECT", path: "far.example:443", host: "proxy", port: 3128, scheme: "http" },
    ["https://far.example/", "http://proxy:3128/"],
  ],
  [{ method: "OPTIONS", path: "*" }, ["https://pay.internal/*"]],
] as const)("%j", (destination, expected) => {
  expect(ids(destination)).toEqual(expected);
});

test.each([
  ["MÜNCHEN.example", "xn--mnchen-3ya.example"],
  ["0x7f.1", "127.0.0.1"],
  ["2852039166", "169.254.169.254"],
  ["::ffff:169.254.169.254", "169.254.169.254"],
  ["[2001:DB8:0:0::1]", "[2001:db8::1]"],
  ["fe80::1%eth0", "[fe80::1%25eth0]"],
  ["a/b@c", "a%2Fb%40c"],
])("host %s is %s", (host, canonical) => {
  expect(canonicalHost(host)).toBe(canonical);
});

test.each([
  ["/v1/refunds/../admin", "/v1/admin"],
  ["/v1/refunds/%2e%2E/admin", "/v1/admin"],
  ["/v1/%72efunds", "/v1/refunds"],
  ["/a%2fb", "/a%2Fb"],
  ["/a\\b", "/a/b"],
  ["/ä b", "/%C3%A4%20b"],
  ["//evil.example/x", "//evil.example/x"],
  ["relative", "/relative"],
  ["/file.json", "/file.json"],
])("path %s is %s", (path, canonical) => {
  expect(canonicalPath(path)).toBe(canonical);
});

test.each([
  ["get", "READ"],
  ["HEAD", "READ"],
  ["POST", "WRITE"],
  ["PUT", "UPDATE"],
  ["patch", "UPDATE"],
  ["DELETE", "DELETE"],
  ["BREW", "WRITE"],
  ["constructor", "WRITE"],
])("%s is %s", (method, action) => {
  expect(httpAction({ ...PLAIN, method }).action).toBe(action);
});

test("any destination has one canonical id without credentials and query", () => {
  fc.assert(
    fc.property(
      fc.record({
        host: fc.string(),
        path: fc.string({ unit: "binary" }),
        port: fc.oneof(fc.string(), fc.nat(), fc.constant(undefined)),
      }),
      ({ host, path, port }) => {
        for (const id of ids({ host, path: `/${path}`, port })) {
          expect(id).toMatch(/^https:\/\/[^/?#@]*\/[^?#]*$/);
        }
        // Once is enough.
        const once = canonicalPath(`/${path}`);
        expect(canonicalPath(once)).toBe(once);
      },
    ),
    { numRuns: 1000 },
  );
});
