import {
  SPAN_AUDIT,
  SPAN_MALFORMED,
  SpanFields,
  AttributeList,
  encodeAttribute,
  frameRawSpans,
  readAnyValue,
  readResource,
  readSpan,
  type AttributeValue,
  type SpanIndex,
} from "@otel-audit/otlp";
import {
  ATTR_AUDIT_RECORD_ORIGIN,
  ATTR_AUDIT_SCHEMA_VERSION,
  ATTR_SERVICE_NAME,
  AUDIT_RECORD_ORIGIN_VALUE_CLASSIFIED,
  AUDIT_RECORD_ORIGIN_VALUE_EFFECT,
  SCHEMA_VERSION,
} from "@otel-audit/semantic-conventions";
import { deriveAction, deriveIdentity, text, type Attributes } from "./derive.ts";

/** Services remembered as having our own instrumentation; the oldest is forgotten beyond it. */
const MAX_KNOWN_SERVICES = 10_000;

/**
 * Derives audit records from spans of other instrumentations (GenAI tools, HTTP clients, databases, files). A record is
 * the original span with the derived attributes put before its own, so that ids, times and attributes stay what they
 * were. Off for every service that has sent `effect` records: there the same action is recorded already.
 */
export class Classifier {
  readonly #services: ReadonlySet<string>;
  readonly #instrumented = new Set<string>();
  readonly #span = new SpanFields();
  readonly #resource = new AttributeList();

  /** @param services `service.name` values; `"*"` is every service */
  constructor(services: readonly string[]) {
    this.#services = new Set(services);
  }

  /** A request with the derived records; undefined where there are none. */
  classify(index: SpanIndex): Uint8Array | undefined {
    if (index.auditCount > 0) this.#learn(index);
    const requests: Uint8Array[] = [];
    let resourceRow = -1;
    let resource: Attributes = {};
    for (let i = 0; i < index.count; i++) {
      if (index.flags[i]! & (SPAN_AUDIT | SPAN_MALFORMED)) continue;
      if (index.resource[i] !== resourceRow) {
        resourceRow = index.resource[i]!;
        resource = this.#readResource(index, resourceRow);
      }
      const service = text(resource[ATTR_SERVICE_NAME]);
      if (!this.#isCovered(service)) continue;
      const copy = this.#derive(index, i, resource);
      if (copy) requests.push(copy);
    }
    // Requests are repeated fields: put one after the other they are one request.
    return requests.length === 0 ? undefined : Buffer.concat(requests);
  }

  #isCovered(service: string): boolean {
    return (this.#services.has("*") || this.#services.has(service)) && !this.#instrumented.has(service);
  }

  #derive(index: SpanIndex, i: number, resource: Attributes): Uint8Array | undefined {
    const { bytes } = index;
    const start = index.start[i]!;
    const end = index.end[i]!;
    readSpan(bytes, start, end, this.#span);
    const attributes = toObject(bytes, this.#span.attributes);
    const action = deriveAction(attributes, this.#span.kind, readText(bytes, this.#span.nameStart, this.#span.nameEnd));
    if (!action) return undefined;
    const derived: Attributes = {
      ...action,
      ...deriveIdentity(attributes, resource, this.#span.statusCode),
      [ATTR_AUDIT_RECORD_ORIGIN]: AUDIT_RECORD_ORIGIN_VALUE_CLASSIFIED,
      [ATTR_AUDIT_SCHEMA_VERSION]: SCHEMA_VERSION,
    };
    const prefix = Object.entries(derived).map(([key, value]) => encodeAttribute(key, value));
    const resourceRow = index.resource[i]!;
    const scopeRow = index.scope[i]!;
    return frameRawSpans(
      bytes.subarray(index.resourceStart[resourceRow], index.resourceEnd[resourceRow]),
      bytes.subarray(index.scopeStart[scopeRow], index.scopeEnd[scopeRow]),
      [Buffer.concat([...prefix, bytes.subarray(start, end)])],
    );
  }

  /** Remembers which services record their own effects. */
  #learn(index: SpanIndex): void {
    for (let i = 0; i < index.count; i++) {
      if ((index.flags[i]! & (SPAN_AUDIT | SPAN_MALFORMED)) !== SPAN_AUDIT) continue;
      readSpan(index.bytes, index.start[i]!, index.end[i]!, this.#span);
      if (toObject(index.bytes, this.#span.attributes)[ATTR_AUDIT_RECORD_ORIGIN] !== AUDIT_RECORD_ORIGIN_VALUE_EFFECT)
        continue;
      const service = this.#readResource(index, index.resource[i]!)[ATTR_SERVICE_NAME];
      if (service === undefined) continue;
      this.#instrumented.add(text(service));
      if (this.#instrumented.size > MAX_KNOWN_SERVICES)
        this.#instrumented.delete(this.#instrumented.values().next().value!);
    }
  }

  #readResource(index: SpanIndex, row: number): Attributes {
    readResource(index.bytes, index.resourceStart[row]!, index.resourceEnd[row]!, this.#resource);
    return toObject(index.bytes, this.#resource);
  }
}

/** The first of a repeated key counts, as in the row. */
function toObject(bytes: Uint8Array, list: AttributeList): Attributes {
  const attributes: Record<string, AttributeValue> = {};
  // A key called `constructor` is a key like any other.
  Object.setPrototypeOf(attributes, null);
  for (let i = 0; i < list.count; i++) {
    const key = readText(bytes, list.keyStart[i]!, list.keyEnd[i]!);
    if (!(key in attributes))
      attributes[key] = readAnyValue(bytes, list.kind[i]!, list.valueStart[i]!, list.valueEnd[i]!);
  }
  return attributes;
}

function readText(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString("utf8");
}
