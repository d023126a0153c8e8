import { OtlpError, SpanIndex, jsonToProtobuf, protobufToJson, scanTraces } from "@otel-audit/otlp";
import { Random } from "../faults/random.ts";
import type { Canaries } from "./canary.ts";
import { compress } from "./compress.ts";
import { mutateJson } from "./mutate-json.ts";
import { mutateBytes, mutateTree, splice } from "./mutate-protobuf.ts";
import { encode, type Field } from "./tree.ts";
import { validRequest } from "./valid.ts";

// Half of all requests are refused here as well as there, and nobody looks where.
Error.stackTraceLimit = 1;

/** What a request has to be answered with. `any`: whatever a request may be answered with at all. */
export type Expected = "taken" | "invalid" | "too large" | "any";

/** One request, before a protocol. */
export interface Content {
  readonly n: number;
  readonly encoding: "application/x-protobuf" | "application/json";
  readonly coding: string | undefined;
  /** As it is sent. */
  readonly body: Buffer;
  readonly expected: Expected;
  /** As the pipelines see what is `taken`. */
  readonly protobuf: Uint8Array | undefined;
  /** Nothing was done to it: all of its records have to be stored. */
  readonly valid: boolean;
}

/** The n-th request of a seed; the same again for the same two. */
export function contentOf(n: number, seed: number, canaries: Canaries, only?: "protobuf"): Content {
  const random = new Random(seed, "request", n);
  const author = { random, canaries, n };
  const json = only !== "protobuf" && random.chance(0.35);
  const valid = random.chance(0.12);
  const make = (): Field[] => validRequest(author);
  const plain = json ? jsonBody(make, valid, random) : protobufBody(make, valid, random);
  const encoding = json ? "application/json" : "application/x-protobuf";
  const protobuf = protobufOf(plain, json);
  const request = { n, encoding, coding: undefined, body: plain, protobuf, valid } as const;
  const expected = protobuf === undefined ? "invalid" : "taken";
  if (!random.chance(valid ? 0.3 : 0.1)) return { ...request, expected };
  const { coding, body, holds } = compress(plain, random);
  if (holds === "all") return { ...request, coding, body, expected };
  return { ...request, coding, body, expected: holds === "too much" ? "too large" : "any", valid: false };
}

function protobufBody(make: () => Field[], valid: boolean, random: Random): Buffer {
  const tree = make();
  if (valid) return encode(tree);
  const roll = random.next();
  if (roll < 0.65) {
    mutateTree(tree, random);
    return roll < 0.05 ? mutateBytes(encode(tree), random) : encode(tree);
  }
  return roll < 0.9 ? mutateBytes(encode(tree), random) : splice(encode(tree), encode(make()), random);
}

function jsonBody(make: () => Field[], valid: boolean, random: Random): Buffer {
  const json = (): Buffer => Buffer.from(protobufToJson(encode(make())));
  if (valid) return json();
  const roll = random.next();
  if (roll < 0.65) return mutateJson(json(), random);
  return roll < 0.9 ? mutateBytes(json(), random) : splice(json(), json(), random);
}

const index = new SpanIndex();

/** A body as the parser reads it here, where nobody else uses its memory; undefined when it cannot be read. */
function protobufOf(plain: Uint8Array, json: boolean): Uint8Array | undefined {
  try {
    const bytes = json ? jsonToProtobuf(plain) : plain;
    scanTraces(bytes, index);
    return bytes;
  } catch (error) {
    if (error instanceof OtlpError) return undefined;
    throw error;
  }
}
