// Where both collectors forward debug spans: reads, counts and forgets, so that it takes little of the machine.
import { scanTraces, SpanIndex } from "@otel-audit/otlp";
import { createServer } from "node:http";
import { closeServer, listen } from "../../test/support/listen.ts";

export interface Backend {
  readonly url: string;
  /** That came; how many requests they come in is a collector's own choice. */
  readonly spans: number;
  close(): Promise<void>;
}

export async function startBackend(): Promise<Backend> {
  let spans = 0;
  const index = new SpanIndex();
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.once("end", () => {
      spans += scanTraces(Buffer.concat(chunks), index).count;
      response.writeHead(200, { "content-type": "application/x-protobuf", "content-length": 0 });
      response.end();
    });
  });
  const port = await listen(server);
  return {
    url: `http://127.0.0.1:${port}`,
    get spans() {
      return spans;
    },
    close: () => closeServer(server),
  };
}
