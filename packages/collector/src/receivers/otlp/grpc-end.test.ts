// What becomes of connections and requests when a receiver stops, and of connections that are idle.
import { status } from "@grpc/grpc-js";
import { constants } from "node:http2";
import { connect as connectTcp } from "node:net";
import { describe, expect, it } from "vitest";
import { testContext } from "../../testing/context.ts";
import { call, raw, traces, withSession } from "../../testing/grpc-client.ts";
import { otlpConfig } from "./config.ts";
import { frame } from "./grpc-frame.ts";
import { OtlpReceiver } from "./receiver.ts";

describe("the end of OTLP/gRPC", () => {
  it("finishes what is under way, tells others to come again, and leaves nobody connected", async () => {
    const waiting: (() => void)[] = [];
    const slow = new OtlpReceiver(
      otlpConfig.parse({ protocols: { grpc: { endpoint: "127.0.0.1:0" } } }),
      { traces: { consume: () => new Promise((resolve) => waiting.push(() => resolve([]))) } },
      testContext("otlp"),
    );
    await slow.start();
    const to = slow.endpoints.otlpGrpc!;
    await withSession(to, async (session) => {
      const goaway = new Promise<number>((resolve) => session.on("goaway", resolve));
      const closed = new Promise<void>((resolve) => session.on("close", resolve));
      const first = raw(session, frame(traces(1)));
      await expect.poll(() => waiting.length).toBe(1);
      const stopped = slow.shutdown();
      expect(await goaway).toBe(constants.NGHTTP2_NO_ERROR);
      expect((await call(to, traces(1))).error?.code).toBe(status.UNAVAILABLE);
      for (const finish of waiting) finish();
      expect((await first).trailers).toMatchObject({ "grpc-status": "0" });
      await Promise.all([stopped, closed]);
    });
  });

  it("is bounded, whatever a pipeline or a client does", async () => {
    const stuck = new OtlpReceiver(
      otlpConfig.parse({ protocols: { grpc: { endpoint: "127.0.0.1:0" } } }),
      { traces: { consume: () => new Promise(() => {}) } },
      testContext("otlp"),
    );
    await stuck.start();
    const to = stuck.endpoints.otlpGrpc!;
    const silent = connectTcp({ port: Number(new URL(to).port), host: "127.0.0.1", allowHalfOpen: true });
    await withSession(to, async (session) => {
      const answered = raw(session, frame(traces(1))).catch((error: unknown) => error);
      await new Promise((resolve) => setTimeout(resolve, 100));
      await stuck.shutdown();
      expect(await answered).not.toMatchObject({ trailers: { "grpc-status": "0" } });
    });
    silent.destroy();
  });

  it("ends connections that are idle", async () => {
    const brief = new OtlpReceiver(
      otlpConfig.parse({
        protocols: {
          grpc: { endpoint: "127.0.0.1:0", keepalive: { server_parameters: { max_connection_idle: "1s" } } },
        },
      }),
      { traces: { consume: async () => [] } },
      testContext("otlp"),
    );
    await brief.start();
    const code = await withSession(
      brief.endpoints.otlpGrpc!,
      (session) => new Promise<number>((resolve) => session.on("goaway", resolve)),
    );
    expect(code).toBe(constants.NGHTTP2_NO_ERROR);
    await brief.shutdown();
  });
});
