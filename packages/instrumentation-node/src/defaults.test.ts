import { expect, test } from "vitest";

import type { AuditAction } from "@otel-audit/semantic-conventions";

import type { ObservedAction } from "./audit.ts";
import { Defaults } from "./defaults.ts";

const defaults = new Defaults(["/etc/otel-audit/policy.yaml", "/proc/spool"]);

function file(action: AuditAction, ...paths: string[]): ObservedAction {
  return { event: "file.read", action, targets: paths.map((path) => ({ type: "file", id: `file://${path}` })) };
}

function http(action: AuditAction, id: string): ObservedAction {
  return { event: "http.request", action, targets: [{ type: "http.endpoint", id }] };
}

test.each([
  ["/app/node_modules/x/data.json", "node_modules"],
  ["/proc/self/status", "system"],
  ["/sys/fs/cgroup/memory.max", "system"],
  ["/dev/null", "device"],
  ["/dev/urandom", "device"],
  ["/etc/resolv.conf", "resolver"],
  ["/etc/hosts", "resolver"],
  ["/etc/ssl/certs/ca-certificates.crt", "certificates"],
  ["/usr/share/ca-certificates/mozilla/x.crt", "certificates"],
  ["/usr/share/zoneinfo/Europe/Berlin", "time_zone"],
  ["/etc/localtime", "time_zone"],
])("reading %s is ignored as %s", (path, kind) => {
  expect(defaults.ignoredAs(file("READ", path))).toBe(kind);
});

test.each([
  "/srv/kb/faq.md",
  "/etc/passwd",
  "/etc/ssl/private/key.pem",
  "/home/a/proc/self/status",
  "/dev/sda",
  // Never ignorable.
  "/proc/self/environ",
  "/proc/1/mem",
  "/proc/1/cmdline",
  "/proc/1/task/2/environ",
  "/app/node_modules/x/.env",
  "/app/node_modules/x/.env.production",
  "/proc/1/root/home/a/.ssh/id_ed25519",
  // Doors to other files.
  "/proc/1/root/srv/vault/gold",
  "/proc/1/cwd/gold",
  "/proc/1/task/2/root/srv/vault/gold",
  "/proc/1/fd/7",
  "/proc/1/exe",
  // The audit's own.
  "/proc/spool/1-a/00000001.frames",
  "/etc/otel-audit/policy.yaml",
])("reading %s is recorded", (path) => {
  expect(defaults.ignoredAs(file("READ", path))).toBeUndefined();
});

test.each(["WRITE", "CREATE", "UPDATE", "DELETE", "EXECUTE"] as const)("%s is recorded anywhere", (action) => {
  expect(defaults.ignoredAs(file(action, "/app/node_modules/x/index.js"))).toBeUndefined();
  expect(defaults.ignoredAs(http(action, "http://127.0.0.1/health"))).toBeUndefined();
});

test("an action is ignored only if all of its targets are", () => {
  expect(defaults.ignoredAs(file("READ", "/dev/null", "/etc/hosts"))).toBeDefined();
  expect(defaults.ignoredAs(file("READ", "/dev/null", "/etc/passwd"))).toBeUndefined();
  expect(defaults.ignoredAs({ event: "x", action: "READ", targets: [] })).toBeUndefined();
});

test.each([
  ["http://127.0.0.1:8080/healthz", true],
  ["http://localhost/health", true],
  ["http://[::1]:13133/readyz", true],
  ["http://127.0.0.1:8080/api/health/reset", false],
  ["http://127.0.0.1.evil.example/health", false],
  ["https://api.example/health", false],
  ["http://127.0.0.1:8080/", false],
  ["http://169.254.169.254/health", false],
])("GET %s is a health check: %s", (id, ignored) => {
  expect(defaults.ignoredAs(http("READ", id))).toBe(ignored ? "health_check" : undefined);
});
