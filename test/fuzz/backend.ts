import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { scanTraces } from "@otel-audit/otlp";
import protobuf from "protobufjs";
import { closeServer, listen } from "../support/listen.ts";
import type { Canaries } from "./canary.ts";

/**
 * Takes forwarded debug spans. The collector joins requests by laying one behind the other, so each field of a body (a
 * ResourceSpans) has to be of one sender's bytes.
 */
export class DebugBackend {
  readonly #canaries: Canaries;
  readonly #bytesOf: (n: number) => Uint8Array | undefined;
  readonly #server = createServer((request, response) => this.#take(request, response));
  readonly problems: string[] = [];
  url = "";
  requests = 0;
  spans = 0;
  /** Forwarded ResourceSpans in which no canary is left. */
  nameless = 0;

  /** @param bytesOf what was sent as request n, as protobuf */
  static async start(canaries: Canaries, bytesOf: (n: number) => Uint8Array | undefined): Promise<DebugBackend> {
    const backend = new DebugBackend(canaries, bytesOf);
    backend.url = `http://127.0.0.1:${await listen(backend.#server)}`;
    return backend;
  }

  private constructor(canaries: Canaries, bytesOf: (n: number) => Uint8Array | undefined) {
    this.#canaries = canaries;
    this.#bytesOf = bytesOf;
  }

  close(): Promise<void> {
    return closeServer(this.#server);
  }

  #take(request: IncomingMessage, response: ServerResponse): void {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      try {
        this.#judge(Buffer.concat(chunks));
      } catch (error) {
        this.problems.push(`forwarded: what cannot be read: ${String(error)}`);
      }
      response.writeHead(200, { "content-type": "application/x-protobuf" }).end();
    });
  }

  #judge(body: Buffer): void {
    this.requests++;
    const reader = protobuf.Reader.create(body);
    while (reader.pos < reader.len) {
      const start = reader.pos;
      reader.skipType(reader.uint32() & 7);
      this.#judgeField(body.subarray(start, reader.pos));
    }
  }

  #judgeField(field: Buffer): void {
    const found = this.#canaries.find(field.toString("latin1"));
    if (found.size > 1) this.problems.push(`forwarded: canaries of requests ${[...found].join(", ")} in one`);
    const [n] = found;
    if (n === undefined) {
      this.nameless++;
      return;
    }
    const sent = this.#bytesOf(n);
    // Of an odd request it is not known what arrived.
    if (sent === undefined) return;
    const index = scanTraces(field);
    for (let i = 0; i < index.count; i++) {
      this.spans++;
      const span = field.subarray(index.start[i], index.end[i]);
      if (!Buffer.from(sent.buffer, sent.byteOffset, sent.length).includes(span))
        this.problems.push(`forwarded: a span that is not in request ${n}: ${span.toString("hex").slice(0, 200)}`);
    }
  }
}
