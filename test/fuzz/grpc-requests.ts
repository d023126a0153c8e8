import type { OutgoingHttpHeaders } from "node:http2";
import { Random } from "../faults/random.ts";
import { TRACES } from "./grpc-lane.ts";
import { mutateBytes } from "./mutate-protobuf.ts";
import type { Content, Expected } from "./requests.ts";

interface GrpcRequest {
  readonly headers: OutgoingHttpHeaders;
  readonly body: Buffer;
  readonly expected: Expected;
}

/** A call with one message; of some calls more is wrong than the message. */
export function grpcRequest(content: Content, seed: number): GrpcRequest {
  const { coding, body, expected, n } = content;
  const random = new Random(seed, "call", n);
  const headers: OutgoingHttpHeaders = {
    ":method": "POST",
    ":path": TRACES,
    "content-type": "application/grpc",
    te: "trailers",
    ...(coding !== undefined && { "grpc-encoding": coding }),
  };
  const flag = coding === undefined ? 0 : 1;
  if (content.valid || random.chance(0.9)) return { headers, body: framed(flag, body), expected };
  return { headers, body: oddBody(headers, flag, body, random), expected: "any" };
}

function framed(flag: number, body: Buffer, length = body.length): Buffer {
  const head = Buffer.alloc(5);
  head[0] = flag;
  head.writeUInt32BE(Math.max(0, length) % 2 ** 32, 1);
  return Buffer.concat([head, body]);
}

function oddBody(headers: OutgoingHttpHeaders, flag: number, body: Buffer, random: Random): Buffer {
  const whole = framed(flag, body);
  switch (random.between(0, 9)) {
    case 0:
      return framed(random.pick([2, 0x80, 0xff, flag ^ 1]), body);
    case 1:
      return framed(flag, body, body.length + random.pick([-1, 1, 5, 0x7fffffff, 0xffffffff]));
    case 2:
      return Buffer.concat([whole, whole]);
    case 3:
      return whole.subarray(0, random.between(0, 5));
    case 4:
      return mutateBytes(whole, random);
    case 5:
      headers[":path"] = random.pick(["/", "/x/Export", `${TRACES}/`, `/${"a".repeat(5_000)}`, "/\u007f"]);
      return whole;
    case 6:
      headers["content-type"] = random.pick([
        "application/json",
        "application/grpc+json",
        "text/html",
        "application/grpcx",
      ]);
      return whole;
    case 7:
      headers["grpc-encoding"] = random.pick(["br", "snappy", "gzip,gzip", "identity", "zstd"]);
      return whole;
    case 8:
      headers[":method"] = random.pick(["GET", "PUT", "FOO"]);
      return whole;
    default:
      headers["grpc-timeout"] = random.pick(["1n", "0S", "x", "99999999999H"]);
      headers["x-bin"] = "%%%";
      return whole;
  }
}
