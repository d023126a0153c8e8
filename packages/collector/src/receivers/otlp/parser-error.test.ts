// Connections that end in an error of Node's parser, as the server of HTTP hands them over.
import { once } from "node:events";
import { connect, createServer, type AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { afterEach, expect, it } from "vitest";
import { answerParserError, type ParserError } from "./parser-error.ts";

const server = createServer();
afterEach(() => void server.close());

/** What a client reads that has sent so much when the error comes. */
async function answered(error: ParserError, sent: string): Promise<string> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = connect((server.address() as AddressInfo).port, "127.0.0.1");
  const [socket] = (await once(server, "connection")) as [typeof client];
  if (sent !== "") {
    client.write(sent);
    await once(socket, "data");
  }
  answerParserError(error, socket);
  return text(client);
}

const TIMEOUT = { code: "ERR_HTTP_REQUEST_TIMEOUT" };

it("tells who is too slow to come again", async () => {
  const answer = await answered(TIMEOUT, "POST /v1/traces HTTP/1.1\r\n");
  expect(answer).toMatch(/^HTTP\/1\.1 503 Service Unavailable\r\n[^]*\r\nRetry-After: 1\r\n/);
  expect(JSON.parse(answer.split("\r\n\r\n")[1]!)).toMatchObject({ code: 4, details: [{ retryDelay: "1s" }] });
});

it("says nothing to who has asked for nothing", async () => {
  expect(await answered(TIMEOUT, "")).toBe("");
});

it("gives no time to come again for what is no HTTP", async () => {
  const answer = await answered({ code: "HPE_INVALID_METHOD" }, "hello\r\n");
  expect(answer).toMatch(/^HTTP\/1\.1 400 /);
  expect(answer).not.toMatch(/retry-after/i);
});
