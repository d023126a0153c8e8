import { request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import type { Socket } from "node:net";
import { firstStatus, pour, unless, type Attack, type Attacker } from "./attack.ts";
import { bomb } from "./compress.ts";
import { bytes, encode, message, text, type Field } from "./tree.ts";

const HEAD = "POST /v1/traces HTTP/1.1\r\nHost: localhost\r\n";
const PROTOBUF = "Content-Type: application/x-protobuf\r\n";
const JSON_TYPE = "Content-Type: application/json\r\n";
const DEPTH = 100_000;
const SLOW_CONNECTIONS = 300;
const SLOW_MS = 3_000;

/** Many connections that say a byte now and then. */
function slow(name: string, start: string, drip: string, open: (attacker: Attacker) => Promise<Socket>): Attack {
  return {
    name,
    run: async (attacker) => {
      const sockets = await Promise.all(Array.from({ length: SLOW_CONNECTIONS }, () => open(attacker)));
      for (const socket of sockets) socket.write(start);
      const until = performance.now() + SLOW_MS;
      while (performance.now() < until) {
        for (const socket of sockets) if (socket.writable) socket.write(drip);
        await sleep(100);
      }
      return [];
    },
  };
}

/** One request, and the statuses that it may be answered with. */
function single(name: string, make: () => { head: string; body: Buffer }, ...allowed: number[]): Attack {
  return {
    name,
    run: async (attacker) => {
      const socket = await attacker.open(attacker.victim.httpPort);
      const status = firstStatus(socket);
      const { head, body } = make();
      socket.write(`${HEAD}${head}Content-Length: ${body.length}\r\n\r\n`);
      await pour(socket, (i) => {
        const chunk = body.subarray(i * 65_536, (i + 1) * 65_536);
        return chunk.length > 0 ? chunk : undefined;
      });
      return unless(name, await status, ...allowed);
    },
  };
}

/** A request with one span that has these attributes. */
function spanWith(attributes: Field[]): Buffer {
  const ids = [bytes(1, Buffer.alloc(16, 7)), bytes(2, Buffer.alloc(8, 7)), text(5, "attack")];
  return encode([message(1, [message(2, [message(2, [...ids, ...attributes])])])]);
}

function attribute(key: string, value: Field[]): Field {
  return message(9, [text(1, key), message(2, value)]);
}

const audit = attribute("audit.action", [text(1, "READ")]);

/** An AnyValue in an AnyValue, from the inside out: the tree would be too deep to be written. */
function nestedValue(depth: number, kvlist: boolean): Buffer {
  // Room for three lengths of at most five bytes and their tags a level.
  const room = Buffer.alloc(depth * 18 + 16);
  let at = room.length;
  const wrap = (tag: number): void => {
    const length = room.length - at;
    const head = [tag];
    let rest = length;
    for (; rest >= 128; rest = Math.floor(rest / 128)) head.push((rest % 128) | 0x80);
    head.push(rest);
    at -= head.length;
    room.set(head, at);
  };
  for (let i = 0; i < depth; i++) {
    if (kvlist) wrap(0x12);
    wrap(0x0a);
    wrap(kvlist ? 0x32 : 0x2a);
  }
  return room.subarray(at);
}

function nestedJson(open: string, close: string): Buffer {
  const value = `${open.repeat(DEPTH)}{}${close.repeat(DEPTH)}`;
  return Buffer.from(
    `{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"${"07".repeat(16)}","spanId":"${"07".repeat(8)}",` +
      `"attributes":[{"key":"audit.action","value":${value}}]}]}]}]}`,
  );
}

const many = (count: number, make: (i: number) => Field): Field[] => Array.from({ length: count }, (_, i) => make(i));

function bombs(coding: "gzip" | "deflate" | "zstd"): Attack {
  const one = single(
    `inflate bomb (${coding})`,
    () => ({ head: `${PROTOBUF}Content-Encoding: ${coding}\r\n`, body: bomb(coding) }),
    413,
    503,
  );
  return {
    name: one.name,
    run: async (attacker) => (await Promise.all(Array.from({ length: 6 }, () => one.run(attacker)))).flat(),
  };
}

export const HTTP_ATTACKS: readonly Attack[] = [
  slow("slow loris: headers", `${HEAD}X-Slow: `, "x", (attacker) => attacker.open(attacker.victim.httpPort)),
  slow("slow loris: bodies", `${HEAD}${PROTOBUF}Content-Length: 1000000\r\n\r\n`, "x", (attacker) =>
    attacker.open(attacker.victim.httpPort),
  ),
  // The start of a handshake in TLS; garbage to who has none.
  slow("slow loris: handshake", "\x16\x03", "\x01", (attacker) => attacker.openBare(attacker.victim.httpPort)),
  slow("slow loris: handshake (gRPC)", "\x16\x03", "\x01", (attacker) => attacker.openBare(attacker.victim.grpcPort)),
  {
    name: "endless chunked bodies",
    run: async (attacker) => {
      const chunk = Buffer.from(`10000\r\n${"x".repeat(0x10000)}\r\n`);
      const attempts = Array.from({ length: 3 }, async () => {
        const socket = await attacker.open(attacker.victim.httpPort);
        const status = firstStatus(socket);
        socket.write(`${HEAD}${PROTOBUF}Transfer-Encoding: chunked\r\n\r\n`);
        await pour(socket, (i) => (i < 5_000 ? chunk : undefined));
        // Who goes on after the answer is cut, and may not have read it.
        return unless("endless body", await status, 413, 503, 0);
      });
      return (await Promise.all(attempts)).flat();
    },
  },
  {
    name: "a body without any length",
    run: async (attacker) => {
      const socket = await attacker.open(attacker.victim.httpPort);
      const status = firstStatus(socket);
      socket.write(`${HEAD}${PROTOBUF}\r\n`);
      await pour(socket, (i) => (i < 200 ? Buffer.alloc(0x10000, "x") : undefined));
      // Without a length there is no body: what follows is the next request, and none.
      return unless("no length", await status, 200, 400);
    },
  },
  single(
    "100,000 attributes",
    () => ({ head: PROTOBUF, body: spanWith([audit, ...many(100_000, (i) => attribute(`k${i}`, [text(1, "v")]))]) }),
    200,
  ),
  single(
    "100,000 attributes, one key",
    () => ({ head: PROTOBUF, body: spanWith([audit, ...many(100_000, () => attribute("k", [text(1, "v")]))]) }),
    200,
  ),
  single(
    "100,000 attributes (JSON)",
    () => {
      const list = Array.from({ length: 100_000 }, (_, i) => `{"key":"k${i}","value":{"intValue":"${i}"}}`).join();
      const ids = `"traceId":"${"07".repeat(16)}","spanId":"${"07".repeat(8)}"`;
      const attributes = `"attributes":[{"key":"audit.action","value":{"stringValue":"READ"}},${list}]`;
      return {
        head: JSON_TYPE,
        body: Buffer.from(`{"resourceSpans":[{"scopeSpans":[{"spans":[{${ids},${attributes}}]}]}]}`),
      };
    },
    200,
  ),
  single("an attribute of 10 MB", () => ({ head: PROTOBUF, body: big([]) }), 200),
  single("an attribute of 10 MB in a record", () => ({ head: PROTOBUF, body: big([audit]) }), 200),
  ...[true, false].map((kvlist) =>
    single(
      `${kvlist ? "kvlists" : "arrays"} ${DEPTH} deep`,
      () => ({
        head: PROTOBUF,
        body: spanWith([audit, message(9, [text(1, "k"), bytes(2, nestedValue(DEPTH, kvlist))])]),
      }),
      200,
      400,
    ),
  ),
  ...(
    [
      ["arrays", '{"arrayValue":{"values":[', "]}}"],
      ["kvlists", '{"kvlistValue":{"values":[{"key":"k","value":', "}]}}"],
      ["unknown objects", '{"a":', "}"],
    ] as const
  ).map(([what, open, close]) =>
    single(`${what} ${DEPTH} deep (JSON)`, () => ({ head: JSON_TYPE, body: nestedJson(open, close) }), 400),
  ),
  bombs("gzip"),
  bombs("deflate"),
  bombs("zstd"),
  {
    name: "a flood of headers",
    run: async (attacker) => {
      const floods = [
        `${HEAD}X: ${"x".repeat(5_000_000)}\r\n\r\n`,
        `${HEAD}${"X-Header: y\r\n".repeat(100_000)}\r\n`,
        `POST /${"a".repeat(1_000_000)} HTTP/1.1\r\n\r\n`,
      ];
      const attempts = floods.map(async (flood) => {
        const socket = await attacker.open(attacker.victim.httpPort);
        const status = firstStatus(socket);
        socket.write(flood);
        return unless("flood of headers", await status, 431, 0);
      });
      return (await Promise.all(attempts)).flat();
    },
  },
  {
    name: "ten thousand requests without reading an answer",
    run: async (attacker) => {
      const socket = await attacker.open(attacker.victim.httpPort);
      socket.pause();
      const one = Buffer.from(`${HEAD}${PROTOBUF}Content-Length: 0\r\n\r\n`.repeat(50));
      await pour(socket, (i) => (i < 200 ? one : undefined));
      return [];
    },
  },
  {
    name: "hostile Host headers at the ports for people",
    run: async ({ victim }) => {
      const problems: string[] = [];
      for (const [name, port, path, strange] of [
        // Anybody may ask whether it is well, and is told no more than that.
        ["health", victim.healthPort, "/", [200, 400, 503]],
        ["metrics", victim.metricsPort, "/metrics", [400, 403]],
      ] as const) {
        for (const host of [
          "evil.example",
          "localhost.evil.example",
          "127.0.0.1.nip.io",
          "evil.example:80@localhost",
          "a b",
        ])
          problems.push(...unless(`${name} as ${host}`, await statusOf(port, path, host), ...strange));
        problems.push(...unless(name, await statusOf(port, path, "localhost"), 200, 503));
      }
      return problems;
    },
  },
];

function big(more: Field[]): Buffer {
  return spanWith([...more, attribute("k", [bytes(1, Buffer.alloc(10_000_000, "x"))])]);
}

function statusOf(port: number, path: string, host: string): Promise<number> {
  return new Promise((resolve) => {
    const outgoing = request(
      { port, host: "127.0.0.1", path, headers: { host }, setHost: false, agent: false },
      (response) => {
        response.resume();
        resolve(response.statusCode!);
      },
    );
    outgoing.on("error", () => resolve(0));
    outgoing.end();
  });
}
