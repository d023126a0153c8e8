import type { IncomingHttpHeaders } from "node:http";

import { http, https } from "../builtins.ts";
import { asOurselves } from "../identity.ts";
import { withoutDebugSpans } from "../trace-context.ts";
import { clearTimeout, setTimeout } from "../pristine.ts";

/** What a server answered. */
export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** A server that does not answer within this many milliseconds has failed. */
const TIMEOUT_MS = 10_000;
const MAX_ANSWER_BYTES = 64 * 1024;

// Taken before anything is patched: our own traffic is nobody's action.
const originals = { "http:": http.request, "https:": https.request } as const;
const agents = {
  "http:": new http.Agent({ keepAlive: true, maxSockets: 1 }),
  "https:": new https.Agent({ keepAlive: true, maxSockets: 1 }),
} as const;

/** POSTs OTLP protobuf. Rejects on network failures and timeouts. Never keeps the process alive by itself. */
export function post(url: URL, headers: Readonly<Record<string, string>>, body: Uint8Array): Promise<Answer> {
  return asOurselves(() => withoutDebugSpans(() => send(url, headers, body)));
}

function send(url: URL, headers: Readonly<Record<string, string>>, body: Uint8Array): Promise<Answer> {
  const protocol = url.protocol === "https:" ? "https:" : "http:";
  return new Promise((resolve, reject) => {
    const request = originals[protocol](
      url,
      {
        method: "POST",
        agent: agents[protocol],
        headers: { "content-type": "application/x-protobuf", "content-length": body.length, ...headers },
      },
      (response) => {
        const chunks: Buffer[] = [];
        let size = 0;
        response.on("data", (chunk: Buffer) => {
          size += chunk.length;
          if (size <= MAX_ANSWER_BYTES) chunks.push(chunk);
        });
        response.on("error", reject);
        response.on("end", () => {
          clearTimeout(timer);
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) });
        });
      },
    );
    const timer = setTimeout(() => {
      request.destroy(new Error(`no answer from ${url.host} within ${TIMEOUT_MS} ms`));
    }, TIMEOUT_MS).unref();
    // A record that waits is on disk: the application may end.
    request.on("socket", (socket) => socket.unref());
    request.on("error", (error) => {
      clearTimeout(timer);
      reject(error);
    });
    request.end(body);
  });
}
