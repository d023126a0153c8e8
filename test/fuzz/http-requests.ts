import { Random } from "../faults/random.ts";
import { mutateBytes } from "./mutate-protobuf.ts";
import type { Content } from "./requests.ts";

/** A request of HTTP 1.1 as every client sends it. */
export function plainHttp({ encoding, coding, body }: Content): Buffer {
  const head =
    `POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${encoding}\r\n` +
    `${coding === undefined ? "" : `Content-Encoding: ${coding}\r\n`}Content-Length: ${body.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), body]);
}

/** What is written on a connection of its own, and what its head promises. */
interface OddHttp {
  readonly bytes: Buffer;
  /** Statuses that the first answer may have; undefined: any of those that there are. */
  readonly statuses: readonly number[] | undefined;
}

interface Head {
  method: string;
  target: string;
  version: string;
  lines: string[];
  body: Buffer;
}

type Oddity = (head: Head, random: Random) => readonly number[] | undefined;

const set = (head: Head, name: string, value: string | undefined): void => {
  head.lines = head.lines.filter((line) => !line.toLowerCase().startsWith(`${name.toLowerCase()}:`));
  if (value !== undefined) head.lines.push(`${name}: ${value}`);
};

const chunk = (body: Buffer, length = body.length.toString(16)): Buffer =>
  Buffer.concat([Buffer.from(`${length}\r\n`), body, Buffer.from("\r\n")]);

const chunked = (head: Head, body: Buffer): void => {
  set(head, "Content-Length", undefined);
  head.lines.push("Transfer-Encoding: chunked");
  head.body = body;
};
const LAST_CHUNK = Buffer.from("0\r\n\r\n");

const ODDITIES: readonly Oddity[] = [
  (head, random) => {
    head.method = random.pick(["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PURGE", "M-SEARCH"]);
    return [405];
  },
  (head, random) => {
    head.method = random.pick(["FOO", "post", "POST POST", "", "P\0ST", "CONNECT"]);
    return [400, 405];
  },
  (head, random) => {
    head.target = random.pick([
      "/",
      "/v1/traces/",
      "//v1/traces",
      "/v1/metrics",
      "/v1/%74races",
      "*",
      "/%00",
      "/v1/traces/../traces",
    ]);
    return [400, 404];
  },
  (head) => {
    head.target = `/${"a".repeat(20_000)}`;
    return [431];
  },
  (head, random) => {
    head.target = `http://${random.pick(["evil.example", "localhost@evil", "", "127.0.0.1.nip.io:1"])}/v1/traces`;
    return [400, 403];
  },
  (head, random) => {
    set(head, "Content-Type", random.pick(["", "text/plain", "application/grpc", "multipart/form-data", "json"]));
    if (random.chance(0.2)) set(head, "Content-Type", undefined);
    return [415];
  },
  (head, random) => {
    set(head, "Content-Encoding", random.pick(["br", "gzip, gzip", "compress", "gzip, deflate", "zstd,br", "\u00e9"]));
    return [415, 400];
  },
  (head, random) => {
    set(
      head,
      "Host",
      random.pick([
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.nip.io",
        "[::ffff:8.8.8.8]",
        "localhost@evil",
        "a b",
        "",
      ]),
    );
    return [400, 403];
  },
  (head) => {
    set(head, "Host", undefined);
    return [400];
  },
  (head) => {
    head.lines.push("Host: evil.example");
    return [400];
  },
  // Two lengths that disagree, and a length beside chunks: where the next request starts is anybody's guess.
  (head, random) => {
    head.lines.push(`Content-Length: ${head.body.length + random.pick([-1, 1, 10])}`);
    return [400];
  },
  (head, random) => {
    head.lines.push(
      random.pick(["Transfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked", "Transfer-Encoding : chunked"]),
    );
    return [400];
  },
  (head, random) => {
    set(head, "Content-Length", undefined);
    head.lines.push(
      `Transfer-Encoding: ${random.pick(["gzip", "chunked, gzip", "xchunked", "identity", "chunked\u000b"])}`,
    );
    return undefined;
  },
  (head, random) => {
    set(
      head,
      "Content-Length",
      random.pick(["-1", "1e3", "0x10", "99999999999999999999", "", "abc", "1 1", "+5", "9007199254740993"]),
    );
    return [400, 413];
  },
  // A body that ends early, and one that is followed by more.
  (head, random) => {
    set(head, "Content-Length", String(head.body.length + random.between(1, 1_000)));
    return undefined;
  },
  (head, random) => {
    set(head, "Content-Length", String(random.between(0, Math.max(0, head.body.length - 1))));
    return undefined;
  },
  (head, random) => {
    const at = random.between(0, head.body.length);
    const parts = [head.body.subarray(0, at), head.body.subarray(at)].filter(({ length }) => length > 0);
    chunked(head, Buffer.concat([...parts.map((part) => chunk(part)), LAST_CHUNK]));
    return undefined;
  },
  (head, random) => {
    const wrong = random.pick([
      "-1",
      "zz",
      "fffffffffffffffff",
      "0x5",
      "5;a=b",
      `5;${"x".repeat(20_000)}`,
      " 5",
      "5\n",
      "",
    ]);
    chunked(head, Buffer.concat([chunk(head.body, wrong), LAST_CHUNK]));
    return undefined;
  },
  (head, random) => {
    chunked(
      head,
      Buffer.concat([chunk(head.body), Buffer.from(`0\r\nX-Trailer: ${"t".repeat(random.pick([1, 20_000]))}\r\n\r\n`)]),
    );
    return undefined;
  },
  (head, random) => {
    head.lines.push(
      ...Array.from({ length: random.pick([50, 1_000, 3_000]) }, (_, i) => `X-${i}: ${"y".repeat(i % 40)}`),
    );
    return [200, 400, 413, 431];
  },
  (head, random) => {
    head.lines.push(
      random.pick(["X: a\0b", "X\u0000: a", " folded: x", ": nothing", "X", "X: \u007f", "X: a\rb", "X: a\nb"]),
    );
    return undefined;
  },
  (head, random) => {
    head.version = random.pick(["HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/1.2", "http/1.1", "HTTP/1.10", ""]);
    return undefined;
  },
  (head, random) => {
    head.lines.push(
      random.pick([
        "Expect: 100-continue",
        "Expect: 200-ok",
        "Upgrade: h2c",
        "Connection: Upgrade, HTTP2-Settings",
        "Connection: close",
      ]),
    );
    return undefined;
  },
];

/** A request that is odd already in its head. */
export function oddHttp(content: Content, seed: number): OddHttp {
  const random = new Random(seed, "head", content.n);
  const lines = ["Host: localhost", `Content-Type: ${content.encoding}`, `Content-Length: ${content.body.length}`];
  if (content.coding !== undefined) lines.push(`Content-Encoding: ${content.coding}`);
  const head: Head = { method: "POST", target: "/v1/traces", version: "HTTP/1.1", lines, body: content.body };
  const statuses = random.pick(ODDITIES)(head, random);
  const start = `${head.method} ${head.target} ${head.version}\r\n${head.lines.join("\r\n")}\r\n\r\n`;
  const bytes = Buffer.concat([Buffer.from(start, "latin1"), head.body]);
  if (random.chance(0.8)) return { bytes, statuses };
  const broken = mutateBytes(Buffer.from(start, "latin1"), random);
  return { bytes: Buffer.concat([broken, head.body]), statuses: undefined };
}
