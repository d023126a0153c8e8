// Where both collectors forward debug spans: reads, counts and forgets, so that it takes little of the machine.
import { createServer } from "node:http";
import { closeServer, listen } from "../../test/support/listen.ts";

export interface Backend {
  readonly url: string;
  /** Requests that came. */
  readonly requests: number;
  close(): Promise<void>;
}

export async function startBackend(): Promise<Backend> {
  let requests = 0;
  const server = createServer((request, response) => {
    request.resume();
    request.once("end", () => {
      requests++;
      response.writeHead(200, { "content-type": "application/x-protobuf", "content-length": 0 });
      response.end();
    });
  });
  const port = await listen(server);
  return {
    url: `http://127.0.0.1:${port}`,
    get requests() {
      return requests;
    },
    close: () => closeServer(server),
  };
}
