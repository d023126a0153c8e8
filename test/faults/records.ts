import { createHash } from "node:crypto";
import { encodeSpan, encodeTraces, type SpanData } from "@otel-audit/otlp";
import { Random } from "./random.ts";

/** A record that was made here, by its numbers: all of it follows from them and the seed. */
export interface Item {
  readonly producer: number;
  readonly n: number;
  /** 0, or 1: other content under the same id. */
  readonly variant: number;
}

const MAX_INT64 = 2n ** 63n - 1n;
const MAX_UINT64 = 2n ** 64n - 1n;
const YEAR_2200 = BigInt(Date.UTC(2200, 0, 1)) * 1_000_000n;
const YEAR_2026 = BigInt(Date.UTC(2026, 0, 1)) * 1_000_000n;

/** What a hostile or broken clock says: start and end. */
const STRANGE_TIMES: readonly (readonly [bigint, bigint])[] = [
  [0n, 0n],
  [1n, 2n],
  [YEAR_2200, YEAR_2200 + 5n],
  [MAX_UINT64, MAX_UINT64],
  [YEAR_2026, YEAR_2026 - 1_000_000n],
  [YEAR_2026, 0n],
  [0n, MAX_UINT64],
];

/** What the table has to hold for a record. */
interface ExpectedRow {
  readonly canary: string;
  readonly contentHash: string;
  readonly timestamp: bigint;
}

/** The known records of a run. */
export class Records {
  readonly #run: string;
  readonly #strangeTimes: boolean;

  constructor(seed: number, strangeTimes: boolean) {
    this.#run = `f${seed.toString(36)}`;
    this.#strangeTimes = strangeTimes;
  }

  id({ producer, n }: Item): string {
    return `${this.#run}-${producer}-${n}`;
  }

  /** The record that an id and a canary name; undefined for what was not made here. */
  find(id: string, canary: string): Item | undefined {
    const [, producer, n] = /^[^-]+-(\d+)-(\d+)$/.exec(id) ?? [];
    const variant = /^canary\/[^/]+\/(\d)\//.exec(canary)?.[1];
    if (producer === undefined || n === undefined || variant === undefined) return undefined;
    const item = { producer: Number(producer), n: Number(n), variant: Number(variant) };
    return this.id(item) === id ? item : undefined;
  }

  /** Every record whose canary stands whole or in part in these bytes of a log file. */
  inBytes(bytes: Buffer): Item[] {
    const text = bytes.toString("latin1");
    const found = text.matchAll(new RegExp(`canary/${this.#run}-(\\d+)-(\\d+)/(\\d)/`, "g"));
    return [...found].map(([, producer, n, variant]) => ({
      producer: Number(producer),
      n: Number(n),
      variant: Number(variant),
    }));
  }

  expected(item: Item): ExpectedRow {
    const span = this.#span(item);
    const digest = createHash("sha256").update(encodeSpan(span)).digest("hex");
    const start = span.startTimeUnixNano;
    return {
      canary: this.#canary(item),
      contentHash: digest.slice(0, 32).toUpperCase(),
      timestamp: start > MAX_INT64 ? MAX_INT64 : start,
    };
  }

  /** An OTLP request with these records. */
  request(items: readonly Item[]): Uint8Array {
    return encodeTraces({
      resourceSpans: [
        {
          resource: { attributes: { "service.name": "faults" } },
          scopeSpans: [{ scope: { name: "faults" }, spans: items.map((item) => this.#span(item)) }],
        },
      ],
    });
  }

  #canary(item: Item): string {
    const { producer, n, variant } = item;
    const random = new Random(this.#run, "canary", producer, n, variant);
    const length = random.chance(0.01) ? 20_000 : random.between(1, 300);
    const word = random.between(0, 2 ** 31).toString(36);
    return `canary/${this.id(item)}/${variant}/${word.repeat(Math.ceil(length / word.length))}`;
  }

  #span(item: Item): SpanData {
    const { producer, n, variant } = item;
    const random = new Random(this.#run, "span", producer, n);
    const start = YEAR_2026 + BigInt(random.between(0, 10_000_000)) * 1_000_000_007n;
    const strange = this.#strangeTimes && random.chance(0.05);
    const [from, to] = strange ? random.pick(STRANGE_TIMES) : [start, start + 1_000_000n];
    return {
      traceId: hex(random, 16),
      spanId: hex(random, 8),
      name: variant === 0 ? "file.read" : "file.write",
      startTimeUnixNano: from,
      endTimeUnixNano: to,
      attributes: {
        "audit.record.id": this.id(item),
        "audit.action": "READ",
        "audit.event.name": "file.read",
        "audit.outcome": "success",
        "audit.actor.id": `agent-${producer}`,
        "audit.actor.type": "agent",
        "test.canary": this.#canary(item),
      },
    };
  }
}

/** Never all zero, which OTLP forbids. */
function hex(random: Random, bytes: number): string {
  let text = "a";
  while (text.length < bytes * 2) text += random.between(0, 15).toString(16);
  return text;
}
