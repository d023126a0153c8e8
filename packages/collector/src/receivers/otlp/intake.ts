import type { Readable } from "node:stream";
import { jsonToProtobuf, scanTraces, type SpanIndex } from "@otel-audit/otlp";
import type { Principal } from "../../auth.ts";
import type { Consumer, CreateContext, Next, Rejection, Signal } from "../../component.ts";
import { LimitedLine } from "../../limited-line.ts";
import type { Room } from "../../service/connections.ts";
import { signalItems } from "../../signal-items.ts";
import { TraceBatch } from "../../trace-batch.ts";
import { decode, receive, type Body } from "./body.ts";
import { InFlight, type BodyLimits, type Chunks } from "./in-flight.ts";
import type { Coding } from "./inflate.ts";
import { RequestError } from "./request-error.ts";
import { Turns } from "./turns.ts";

/** Indexes kept for reuse, and how large one may be: more is left to the garbage collector. */
const KEEP_INDEXES = 64;
const KEEP_INDEX_SPANS = 16_384;
/** Milliseconds between two log lines about refused requests. */
const WARN_EVERY_MS = 1_000;
/** Bodies that take more than 10 ms to read wait for each other. */
const LARGE_BYTES = 1024 * 1024;
/** Different reasons that one answer tells. */
const MAX_REASONS = 8;

export type Encoding = "application/x-protobuf" | "application/json";

/** One export request, as a protocol hands it on: who sent it is known, and its body is still to be read. */
export interface Call {
  readonly signal: Signal;
  readonly transport: "http" | "grpc";
  readonly encoding: Encoding;
  readonly principal: Principal | undefined;
  readonly stream: Readable;
  /** Bytes that the protocol puts around a body. */
  readonly overhead: number;
  readonly maxBody: number;
  readonly limitName: string;
  /** Takes off what the protocol puts around a body. */
  unwrap(chunks: Chunks): { readonly chunks: Chunks; readonly coding: Coding };
}

/** What a client is told of a request that was taken: OTLP's partial success. */
export interface Outcome {
  readonly rejected: number;
  readonly message: string;
}
const TAKEN: Outcome = { rejected: 0, message: "" };

/** The part that all protocols share: from the bytes of a request to the pipelines, and back to what the client is told. */
export class Intake {
  readonly #next: Next;
  readonly #context: CreateContext;
  readonly #audit: InFlight;
  readonly #debug: InFlight;
  readonly #indexes: SpanIndex[] = [];
  /** Labels by signal and transport. */
  readonly #counted = new Map<string, { receiver: string; transport: string }>();
  #stopping = false;
  readonly #refusals = new LimitedLine(WARN_EVERY_MS);
  readonly #cuts = new LimitedLine(WARN_EVERY_MS);
  readonly #turns = new Turns();

  constructor(maxInFlight: number, next: Next, context: CreateContext) {
    this.#next = next;
    this.#context = context;
    const { index, count } = context.worker;
    const held = (name: string): Float64Array => new Float64Array(context.shared(name, count * 8));
    this.#audit = new InFlight(maxInFlight, held("in-flight"), index);
    this.#debug = new InFlight(maxInFlight / 2, held("in-flight-debug"), index, this.#audit);
  }

  get stopping(): boolean {
    return this.#stopping;
  }

  /** From now on every request is told to come again. */
  stop(): void {
    this.#stopping = true;
  }

  /** Throws RequestError when nothing takes this signal now; to be asked before a body is read. */
  check(signal: Signal, how: string): void {
    if (this.#stopping) throw new RequestError("unavailable", "the collector is shutting down; send it again");
    if (this.#next[signal] !== undefined) return;
    throw new RequestError(
      "not_found",
      `${how}: no pipeline takes ${signal} from this receiver (${this.#context.id}); add service::pipelines::${signal} with receivers: [${this.#context.id}]${signal === "traces" ? "" : " and an otlphttp exporter, or send them elsewhere"}`,
    );
  }

  /** Reads a request and resolves when it is safe. Rejects with RequestError or what a pipeline has thrown. */
  async take(call: Call): Promise<Outcome> {
    const { signal, encoding, maxBody, limitName, overhead, principal } = call;
    const reservation = (signal === "traces" ? this.#audit : this.#debug).reserve(principal);
    const limits: BodyLimits = { maxBody, limitName, reservation };
    try {
      const { chunks, coding } = call.unwrap(await receive(call.stream, limits, overhead));
      const body = await decode(chunks, coding, limits, this.#context.memory);
      if (body.bytes.length > LARGE_BYTES) await this.#turns.next();
      if (signal !== "traces") return await this.#forward(signal, body, call);
      if (encoding !== "application/json") return await this.#scan(body, call);
      const bytes = jsonToProtobuf(body.bytes, { maxBytes: maxBody });
      body.memory?.release();
      if (!reservation.grow(bytes.length)) throw reservation.refusal();
      return await this.#scan({ bytes }, call);
    } finally {
      reservation.release();
    }
  }

  /** What a client is told; one line a second in the log, whatever the load. */
  refusal(thrown: unknown): RequestError {
    const error = RequestError.from(thrown);
    if (error.kind !== "unavailable") return error;
    const requests = this.#refusals.due();
    if (requests > 0) this.#context.log.warn({ err: error.cause ?? error, requests }, "requests are refused");
    return error;
  }

  /** For the connections of a protocol. */
  room(transport: "http" | "grpc"): Room {
    const { telemetry, log, id, maxConnections: max } = this.#context;
    return {
      max,
      onCut: () => {
        telemetry.cutConnections.inc({ receiver: id, transport });
        const connections = this.#cuts.due();
        if (connections > 0)
          log.warn({ transport, connections, max }, "more connections than there is room for: the oldest are cut");
      },
    };
  }

  /** Of the counters. A series that is not there cannot be told from one that nothing has raised yet. */
  #labels(signal: Signal, transport: string): { receiver: string; transport: string } {
    const key = `${signal} ${transport}`;
    let labels = this.#counted.get(key);
    if (labels) return labels;
    labels = { receiver: this.#context.id, transport };
    this.#counted.set(key, labels);
    const { accepted, refused, failed } = this.#context.telemetry;
    for (const counter of [accepted, refused, failed]) counter[signal].inc(labels, 0);
    return labels;
  }

  /** Hands a body on. Its memory and the index serve other requests afterwards, but not when anything went wrong. */
  async #scan({ bytes, memory }: Body, { principal, transport }: Call): Promise<Outcome> {
    if (bytes.length === 0) return TAKEN;
    const index = scanTraces(bytes, this.#indexes.pop());
    const batch = TraceBatch.of(index, { ...(memory && { memory }), ...(principal && { principal }) });
    const outcome = index.count === 0 ? TAKEN : await this.#consume(batch, transport, this.#next.traces!);
    memory?.release();
    if (this.#indexes.length < KEEP_INDEXES && index.start.length <= KEEP_INDEX_SPANS) this.#indexes.push(index);
    return outcome;
  }

  async #consume(batch: TraceBatch, transport: string, next: Consumer): Promise<Outcome> {
    const { telemetry } = this.#context;
    const labels = this.#labels("traces", transport);
    const { spans } = batch;
    try {
      const rejections = await next.consume(batch);
      // Several pipelines may each have refused the same span.
      const rejected = Math.min(countRejected(rejections), spans);
      telemetry.accepted.traces.inc(labels, spans - rejected);
      if (rejections.length === 0) return TAKEN;
      if (rejected > 0) telemetry.failed.traces.inc(labels, rejected);
      return { rejected, message: summary(rejections) };
    } catch (error) {
      telemetry.refused.traces.inc(labels, spans);
      throw error;
    }
  }

  async #forward(
    signal: "logs" | "metrics",
    { bytes, memory }: Body,
    { encoding: contentType, transport }: Call,
  ): Promise<Outcome> {
    if (bytes.length === 0) return TAKEN;
    const { telemetry } = this.#context;
    const labels = this.#labels(signal, transport);
    const items = signalItems({ signal, bytes, contentType });
    try {
      await this.#next[signal]!.forward({ signal, bytes, contentType, memory });
    } catch (error) {
      telemetry.refused[signal].inc(labels, items);
      throw error;
    }
    memory?.release();
    telemetry.accepted[signal].inc(labels, items);
    return TAKEN;
  }
}

function countRejected(rejections: readonly Rejection[]): number {
  return rejections.reduce((sum, { spans }) => sum + spans, 0);
}

/** Why spans were rejected, each reason once. A sender chooses how many there are: some are told. */
function summary(rejections: readonly Rejection[]): string {
  const reasons = [...new Set(rejections.map(({ reason }) => reason))];
  const more = reasons.length > MAX_REASONS ? `; and ${reasons.length - MAX_REASONS} more reasons` : "";
  return reasons.slice(0, MAX_REASONS).join("; ") + more;
}
