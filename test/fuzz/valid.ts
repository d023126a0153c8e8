import type { Random } from "../faults/random.ts";
import type { Canaries } from "./canary.ts";
import { bytes, fixed32, fixed64, message, text, varint, type Field } from "./tree.ts";

// Valid requests of every shape that matters to the collector. Every string but the names that it looks for holds the
// canary of its request, and so do trace ids.

/** What a span is to the collector: a record, something that it derives one from, or neither. */
type Kind = "audit" | "effect" | "foreign" | "debug";

interface Author {
  readonly random: Random;
  readonly canaries: Canaries;
  /** The request's number. */
  readonly n: number;
}

/** An ExportTraceServiceRequest. */
export function validRequest({ random, canaries, n }: Author): Field[] {
  return new Writer(random, canaries.of(n), canaries.bytes(n)).request();
}

class Writer {
  readonly #random: Random;
  readonly #canary: string;
  readonly #id: Buffer;
  #strings = 0;

  constructor(random: Random, canary: string, id: Buffer) {
    this.#random = random;
    this.#canary = canary;
    this.#id = id;
  }

  request(): Field[] {
    return this.#some(1, 2, () => message(1, this.#resourceSpans()));
  }

  #resourceSpans(): Field[] {
    const resource = message(1, [
      this.#attribute(1, "service.name", this.#text(`service-${this.#random.between(0, 3)}`)),
      ...this.#attributes(1, 0, 2),
      ...this.#maybe(0.1, () => varint(2, 3)),
      ...this.#maybe(0.1, () => message(3, [text(1, this.#string()), text(2, this.#string())])),
    ]);
    return [
      ...this.#maybe(0.9, () => resource),
      ...this.#some(1, 2, () => message(2, this.#scopeSpans())),
      ...this.#maybe(0.2, () => text(3, this.#string())),
    ];
  }

  #scopeSpans(): Field[] {
    const scope = message(1, [text(1, this.#string()), text(2, this.#string()), ...this.#attributes(3, 0, 1)]);
    return [
      ...this.#maybe(0.8, () => scope),
      ...this.#some(1, 3, () => message(2, this.#span())),
      ...this.#maybe(0.2, () => text(3, this.#string())),
    ];
  }

  #span(): Field[] {
    const kind = this.#random.pick<Kind>(["audit", "audit", "effect", "foreign", "debug", "debug"]);
    const start = 1_790_000_000_000_000_000n + BigInt(this.#random.between(0, 1e9));
    return [
      bytes(1, Buffer.concat([this.#id, this.#bytes(8)])),
      bytes(2, Buffer.concat([this.#id.subarray(0, 4), this.#bytes(4)])),
      ...this.#maybe(0.2, () => text(3, `k=${this.#string()}`)),
      ...this.#maybe(0.5, () => bytes(4, Buffer.concat([this.#id.subarray(0, 4), this.#bytes(4)]))),
      text(5, this.#string()),
      varint(6, this.#random.between(0, 5)),
      fixed64(7, start),
      fixed64(8, start + BigInt(this.#random.between(0, 1e6))),
      ...this.#meaning(kind),
      ...this.#attributes(9, 0, 4),
      ...this.#maybe(0.1, () => varint(10, this.#random.between(0, 1e6))),
      ...this.#some(0, 1, () => this.#event()),
      ...this.#maybe(0.2, () => this.#link()),
      ...this.#maybe(0.4, () => message(15, [text(2, this.#string()), varint(3, this.#random.between(0, 2))])),
      ...this.#maybe(0.3, () => fixed32(16, 0x101)),
    ];
  }

  /** The attributes that the collector looks at. */
  #meaning(kind: Kind): Field[] {
    const attribute = (key: string, value: string): Field => this.#attribute(9, key, this.#text(value));
    const named = (key: string): Field => attribute(key, this.#string());
    const pick = <T>(choices: readonly T[]): T => this.#random.pick(choices);
    if (kind === "foreign")
      return pick([
        () => [attribute("http.request.method", pick(["GET", "POST", "DELETE"])), named("server.address")],
        () => [attribute("db.system.name", "postgresql"), named("db.collection.name"), named("db.query.summary")],
        () => [attribute("gen_ai.operation.name", "execute_tool"), named("gen_ai.tool.name"), named("gen_ai.agent.id")],
      ])();
    if (kind === "debug") return [];
    return this.#random.shuffle([
      attribute("audit.event.name", pick(["file.read", "db.query", "http.request", "audit.bypass", this.#string()])),
      attribute("audit.action", pick(["READ", "WRITE", "DELETE", "EXECUTE", this.#string()])),
      attribute("audit.outcome", pick(["success", "failure", "denied", "unknown"])),
      // A longer one is stored as its hash.
      attribute("audit.record.id", `${this.#canary}.${this.#strings++}`),
      named("audit.actor.id"),
      ...this.#maybe(0.5, () => attribute("audit.actor.type", pick(["agent", "user", "service"]))),
      ...this.#maybe(0.3, () => named("audit.target.id")),
      ...(kind === "effect" ? [attribute("audit.record.origin", "effect")] : []),
    ]);
  }

  #event(): Field {
    return message(11, [fixed64(1, 1_790_000_000_000_000_000n), text(2, this.#string()), ...this.#attributes(3, 0, 2)]);
  }

  #link(): Field {
    return message(13, [
      bytes(1, Buffer.concat([this.#id, this.#bytes(8)])),
      bytes(2, this.#bytes(8)),
      text(3, this.#string()),
      ...this.#attributes(4, 0, 1),
    ]);
  }

  #attributes(number: number, least: number, most: number): Field[] {
    return this.#some(least, most, () => this.#attribute(number, this.#string(), this.#value(0)));
  }

  #attribute(number: number, key: string, value: Field[]): Field {
    return message(number, [text(1, key), message(2, value)]);
  }

  #text(value: string): Field[] {
    return [text(1, value)];
  }

  /** The fields of an AnyValue. */
  #value(depth: number): Field[] {
    switch (this.#random.between(0, depth > 3 ? 4 : 8)) {
      case 0:
        return [varint(2, 1)];
      case 1:
        return [varint(3, this.#random.between(0, 2 ** 40))];
      case 2:
        return [fixed64(4, BigInt(this.#random.between(0, 2 ** 50)))];
      case 3:
        return [bytes(7, Buffer.from(this.#string()))];
      case 5:
        return [
          message(
            5,
            this.#some(0, 3, () => message(1, this.#value(depth + 1))),
          ),
        ];
      case 6:
        return [
          message(
            6,
            this.#some(0, 2, () => this.#attribute(1, this.#string(), this.#value(depth + 1))),
          ),
        ];
      default:
        return this.#text(this.#string());
    }
  }

  /** A string that is found again wherever it goes: no two of a request are the same. */
  #string(): string {
    const own = `${this.#canary}.${this.#strings++}`;
    const roll = this.#random.between(0, 99);
    if (roll < 70) return own;
    if (roll < 85) return `${own}.ü→😀\u0000"\\`;
    return own.padEnd(this.#random.between(20, roll === 99 ? 3_000 : 150), `~${this.#canary}`);
  }

  #bytes(length: number): Buffer {
    const made = Buffer.allocUnsafe(length);
    for (let i = 0; i < length; i += 4) made.writeUInt32LE(this.#random.between(1, 0xffffffff), i);
    return made;
  }

  #some(least: number, most: number, make: () => Field): Field[] {
    return Array.from({ length: this.#random.between(least, most) }, make);
  }

  #maybe(probability: number, make: () => Field): Field[] {
    return this.#random.chance(probability) ? [make()] : [];
  }
}
