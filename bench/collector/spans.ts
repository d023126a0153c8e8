// What every bench of a collector sends: requests of 512 spans, about 600 bytes and 12 attributes each.
import { encodeTraces, type SpanData } from "@otel-audit/otlp";
import { randomBytes, randomFillSync } from "node:crypto";
import { promisify } from "node:util";
import { gzip } from "node:zlib";

export const SPANS = 512;

/** Bytes of a trace id and a span id, and of a record id, which is written in hex. */
const TRACE_ID = 16;
const SPAN_ID = 8;
const RECORD_ID = 16;

interface Places {
  readonly trace: number;
  readonly span: number;
  readonly record: number | undefined;
}

/**
 * Makes requests from one that was encoded once: only ids are written anew, so that a load generator costs little beside
 * what it loads.
 */
export class Requests {
  readonly #template: Buffer;
  readonly #places: readonly Places[];
  readonly #ids = Buffer.allocUnsafe(SPANS * (TRACE_ID + SPAN_ID + RECORD_ID));
  #renewed = 0;
  /** Audit spans of a request. */
  readonly audit: number;

  /** @param auditEvery every how many spans one is an audit span: 5 for 20%, 1 for all, 0 for none */
  constructor(auditEvery: number) {
    const isAudit = (number: number): boolean => auditEvery > 0 && number % auditEvery === 0;
    const spans = Array.from({ length: SPANS }, (_, number) => span(number, isAudit(number)));
    const resource = { attributes: { "service.name": "refunds", "service.version": "1.4.2", "host.name": "node-7" } };
    const request = { resourceSpans: [{ resource, scopeSpans: [{ scope: { name: "bench" }, spans }] }] };
    this.#template = Buffer.from(encodeTraces(request));
    this.#places = spans.map(({ traceId, spanId, attributes }) => {
      const record = attributes?.["audit.record.id"];
      return {
        trace: this.#template.indexOf(Buffer.from(traceId, "hex")),
        span: this.#template.indexOf(Buffer.from(spanId, "hex")),
        record: typeof record === "string" ? this.#template.indexOf(record) : undefined,
      };
    });
    this.audit = spans.filter((_, number) => isAudit(number)).length;
  }

  /** Of a request. */
  get bytes(): number {
    return this.#template.length;
  }

  /** A request whose ids nobody has seen. */
  next(): Buffer {
    const body = Buffer.from(this.#template);
    const ids = randomFillSync(this.#ids);
    let at = 0;
    for (const { trace, span, record } of this.#places) {
      ids.copy(body, trace, at, (at += TRACE_ID));
      ids.copy(body, span, at, (at += SPAN_ID));
      if (record !== undefined) body.write(ids.toString("hex", at, (at += RECORD_ID)), record, "latin1");
    }
    return body;
  }

  /** Makes a new request of one that was sent: its records have ids that nobody has seen, all else stays. */
  renew(body: Buffer): void {
    for (const { record } of this.#places) {
      if (record !== undefined) body.write((this.#renewed++).toString(16).padStart(8, "0"), record, "latin1");
    }
  }

  /** So many requests, compressed beforehand. */
  gzipped(count: number): Promise<Buffer[]> {
    return Promise.all(Array.from({ length: count }, () => promisify(gzip)(this.next())));
  }
}

function span(number: number, audit: boolean): SpanData {
  const start = BigInt(Date.now()) * 1_000_000n;
  return {
    traceId: randomBytes(TRACE_ID).toString("hex"),
    spanId: randomBytes(SPAN_ID).toString("hex"),
    parentSpanId: randomBytes(SPAN_ID).toString("hex"),
    name: audit ? "http.request" : "GET /v1/customers/{id}/orders",
    kind: 3,
    startTimeUnixNano: start,
    endTimeUnixNano: start + 12_345_678n,
    attributes: audit ? auditAttributes(number) : debugAttributes(number),
    status: { code: 1 },
  };
}

function debugAttributes(number: number): NonNullable<SpanData["attributes"]> {
  return {
    "http.request.method": "GET",
    "url.full": `https://api.internal/v1/customers/${number}/orders?page=3&per_page=50&sort=created`,
    "server.address": "api.internal",
    "server.port": 443,
    "http.response.status_code": 200,
    "network.protocol.version": "1.1",
    "user_agent.original": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
    "thread.id": 1,
    "app.cache.hit": number % 2 === 0,
    "app.ratio": 0.25,
    "enduser.id": `user:${number}`,
    "code.function.name": "OrderController.getOrdersOfCustomer",
  };
}

function auditAttributes(number: number): NonNullable<SpanData["attributes"]> {
  return {
    "audit.event.name": "http.request",
    "audit.action": "READ",
    "audit.outcome": "success",
    "audit.actor.id": `agent:${number % 50}`,
    "audit.actor.type": "agent",
    "audit.target.type": "http.endpoint",
    "audit.target.id": `https://api.internal/v1/customers/${number}/orders`,
    "audit.policy.decision": "allow",
    "audit.record.id": randomBytes(RECORD_ID).toString("hex"),
    "audit.record.origin": "effect",
    "http.request.method": "GET",
    "http.response.status_code": 200,
  };
}
