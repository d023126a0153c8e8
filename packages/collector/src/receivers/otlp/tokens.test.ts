// Who may send by an authenticator, and as whom.
import { status } from "@grpc/grpc-js";
import { connect as connectTcp } from "node:net";
import { describe, expect, it } from "vitest";
import { makeCertificate, writeCertificate } from "../../../../../test/support/certificate.ts";
import { tempDir } from "../../../../../test/support/index.ts";
import { both, call, post, startGuarded, type ClientOptions } from "../../testing/guarded-receiver.ts";
import { otlpConfig } from "./config.ts";

const bearer = (token: string): ClientOptions => ({ headers: { authorization: `Bearer ${token}` } });

describe("tokens", () => {
  const auth = { authenticator: "guard" };

  it("are looked at before a body is read, and go along with the batch", async () => {
    const { receiver, principals, guard } = await startGuarded(both({ auth }));
    const { otlpHttp, otlpGrpc } = receiver.endpoints;
    expect((await post(otlpHttp!, bearer("good"))).status).toBe(200);
    expect(await call(otlpGrpc!, undefined, "Bearer good")).toBeUndefined();
    expect(principals).toEqual(["token", "token"]);
    // No body ever comes: the answer does not wait for it.
    const nobody = await post(otlpHttp!, { headers: { "content-length": 1_000_000 } }, undefined);
    expect(nobody).toMatchObject({ status: 401, headers: { "www-authenticate": "Bearer" } });
    expect(nobody.text).toContain("who are you?");
    expect(await post(otlpHttp!, bearer("bad"))).toMatchObject({ status: 403 });
    expect(await post(otlpHttp!, bearer("slow"))).toMatchObject({ status: 429, headers: { "retry-after": "2" } });
    expect((await call(otlpGrpc!))?.code).toBe(status.UNAUTHENTICATED);
    expect((await call(otlpGrpc!, undefined, "Bearer bad"))?.code).toBe(status.PERMISSION_DENIED);
    const slow = await call(otlpGrpc!, undefined, "Bearer slow");
    expect([slow?.code, slow?.metadata.get("grpc-status-details-bin").length]).toEqual([status.RESOURCE_EXHAUSTED, 1]);
    expect(guard.peers.every(({ certificate }) => certificate === undefined)).toBe(true);
    expect(principals).toHaveLength(2);
  });

  it("are not taken twice from one request", async () => {
    const { receiver, guard } = await startGuarded(both({ auth }));
    const answer = await new Promise<string>((resolve) => {
      const socket = connectTcp(Number(new URL(receiver.endpoints.otlpHttp!).port), "127.0.0.1");
      socket.once("data", (chunk: Buffer) => resolve(chunk.toString()));
      const twice = "Authorization: Bearer good\r\n".repeat(2);
      socket.write(`POST /v1/traces HTTP/1.1\r\nHost: x\r\n${twice}Content-Length: 0\r\nConnection: close\r\n\r\n`);
    });
    expect(answer).toMatch(/^HTTP\/1\.1 401 /);
    expect(guard.peers[0]?.authorization).toBe("Bearer good, Bearer good");
  });

  it("let others in from other machines, under any Host; without them nobody is let in", async () => {
    const { receiver } = await startGuarded({ http: { endpoint: "0.0.0.0:0", auth } });
    const url = receiver.endpoints.otlpHttp!.replace("0.0.0.0", "127.0.0.1");
    const headers = { authorization: "Bearer good", host: "collector.example:4318" };
    expect((await post(url, { headers })).status).toBe(200);
    for (const endpoint of ["0.0.0.0:4317", "[::]:4317", "192.0.2.1:4317", "collector.example:4317"]) {
      const { error } = otlpConfig.safeParse({ protocols: { grpc: { endpoint } } });
      expect(error?.issues[0]).toMatchObject({
        path: ["protocols", "grpc", "endpoint"],
        message: expect.stringMatching(
          /can be reached from other machines.*auth::authenticator.*client_ca_file/,
        ) as string,
      });
    }
    // Encrypted, and still anybody's.
    const tls = writeCertificate(tempDir("tls"), makeCertificate(), "server");
    expect(otlpConfig.safeParse({ protocols: { http: { endpoint: "0.0.0.0:4318", tls } } }).success).toBe(false);
  });

  it("need an authenticator that is there", async () => {
    await expect(startGuarded(both({ auth: { authenticator: "nobody" } }))).rejects.toThrow(
      'receivers::otlp::protocols::http::auth::authenticator: references extension "nobody" which is not in service::extensions',
    );
  });
});
