// A socket in the file system, in the place of a port.
import { readdirSync, renameSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { tempDir } from "../../../../../test/support/index.ts";
import { call, post, startGuarded } from "../../testing/guarded-receiver.ts";
import { otlpConfig } from "./config.ts";

const unix = (dir: string): Record<string, unknown> => ({
  http: { transport: "unix", endpoint: join(dir, "http.sock") },
  grpc: { transport: "unix", endpoint: join(dir, "grpc.sock") },
});
const refused = (endpoint: string): string | undefined =>
  otlpConfig.safeParse({ protocols: { http: { transport: "unix", endpoint } } }).error?.issues[0]?.message;

describe("a socket in the file system", () => {
  it("serves both protocols, to this user only, and goes away", async () => {
    const dir = tempDir("unix");
    const { receiver, principals } = await startGuarded(unix(dir));
    expect(receiver.endpoints).toEqual({
      otlpHttp: `unix:${join(dir, "http.sock")}`,
      otlpGrpc: `unix:${join(dir, "grpc.sock")}`,
    });
    expect((await post(receiver.endpoints.otlpHttp!, { headers: { host: "any" } })).status).toBe(200);
    expect(await call(receiver.endpoints.otlpGrpc!)).toBeUndefined();
    expect(principals).toHaveLength(2);
    expect(statSync(join(dir, "http.sock")).mode & 0o777).toBe(0o600);
    expect(readdirSync(dir).toSorted()).toEqual(["grpc.sock", "http.sock"]);
    await receiver.shutdown();
    expect(readdirSync(dir)).toEqual([]);
  });

  it("takes the place of one that nobody listens on, and of nothing else", async () => {
    const dir = tempDir("unix");
    const path = join(dir, "http.sock");
    const stale = createServer();
    await new Promise<void>((resolve) => stale.listen(join(dir, "moved"), resolve));
    renameSync(join(dir, "moved"), path);
    await expect(startGuarded({ http: { transport: "unix", endpoint: path } })).rejects.toThrow(
      `endpoint: unix:${path} is in use by another process`,
    );
    await new Promise((resolve) => stale.close(resolve));
    const { receiver } = await startGuarded({ http: { transport: "unix", endpoint: path } });
    expect((await post(receiver.endpoints.otlpHttp!)).status).toBe(200);
    await receiver.shutdown();
    writeFileSync(path, "precious");
    await expect(startGuarded({ http: { transport: "unix", endpoint: path } })).rejects.toThrow(
      `"${path}" is there and is not a socket`,
    );
    expect(statSync(path).size).toBe(8);
  });

  it("needs an absolute path with room for it, in a directory that is there", async () => {
    expect(refused("http.sock")).toContain("is not an absolute path");
    expect(refused(`/${"x".repeat(90)}`)).toContain("has 91 bytes");
    const dir = join(tempDir("unix"), "none");
    await expect(startGuarded(unix(dir))).rejects.toThrow(/endpoint: cannot listen on unix:.*ENOENT/);
  });
});
