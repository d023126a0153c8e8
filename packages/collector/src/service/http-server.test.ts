import { once } from "node:events";
import { connect } from "node:net";
import { expect, it } from "vitest";
import { HttpServer } from "./http-server.ts";

it("stops without waiting for connections on which nothing was asked", async () => {
  const server = new HttpServer("test", { address: { host: "127.0.0.1", port: 0 } }, (_request, response) => {
    response.end();
  });
  await server.listen();
  const accepted = once(server.events, "connection");
  const silent = connect(Number(new URL(server.url!).port), "127.0.0.1");
  await accepted;
  const ended = once(silent.resume(), "close");
  await server.close(3_600_000);
  expect(await ended).toEqual([false]);
});
