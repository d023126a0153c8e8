import {
  SPAN_AUDIT,
  SPAN_MALFORMED,
  SpanFields,
  AttributeList,
  decodeSpan,
  encodeSpan,
  frameSpans,
  readAnyValue,
  readResource,
  readSpan,
  type AttributeValue,
  type SpanIndex,
} from "@otel-audit/otlp";
import {
  ATTR_AUDIT_RECORD_ORIGIN,
  ATTR_AUDIT_SCHEMA_VERSION,
  ATTR_DB_COLLECTION_NAME,
  ATTR_DB_NAMESPACE,
  ATTR_DB_OPERATION_NAME,
  ATTR_DB_QUERY_SUMMARY,
  ATTR_DB_RESPONSE_STATUS_CODE,
  ATTR_DB_SYSTEM_NAME,
  ATTR_ERROR_TYPE,
  ATTR_GEN_AI_AGENT_ID,
  ATTR_GEN_AI_AGENT_NAME,
  ATTR_GEN_AI_AGENT_VERSION,
  ATTR_GEN_AI_CONVERSATION_ID,
  ATTR_GEN_AI_OPERATION_NAME,
  ATTR_GEN_AI_PROVIDER_NAME,
  ATTR_GEN_AI_TOOL_CALL_ID,
  ATTR_GEN_AI_TOOL_NAME,
  ATTR_GEN_AI_WORKFLOW_NAME,
  ATTR_HOST_NAME,
  ATTR_HTTP_REQUEST_METHOD,
  ATTR_HTTP_RESPONSE_STATUS_CODE,
  ATTR_SERVER_ADDRESS,
  ATTR_SERVER_PORT,
  ATTR_SERVICE_NAME,
  AUDIT_RECORD_ORIGIN_VALUE_CLASSIFIED,
  AUDIT_RECORD_ORIGIN_VALUE_EFFECT,
  SCHEMA_VERSION,
} from "@otel-audit/semantic-conventions";
import { VERSION } from "../../service/version.ts";
import { deriveAction, deriveIdentity, text, type Attributes } from "./derive.ts";

/** Services remembered as having our own instrumentation; the oldest is forgotten beyond it. */
const MAX_KNOWN_SERVICES = 10_000;

/** What a record keeps of a foreign span: names and results. Anything else may hold a secret (URLs, headers, SQL). */
const KEPT_ATTRIBUTES: readonly string[] = [
  ATTR_DB_COLLECTION_NAME,
  ATTR_DB_NAMESPACE,
  ATTR_DB_OPERATION_NAME,
  ATTR_DB_QUERY_SUMMARY,
  ATTR_DB_RESPONSE_STATUS_CODE,
  ATTR_DB_SYSTEM_NAME,
  ATTR_ERROR_TYPE,
  ATTR_GEN_AI_AGENT_ID,
  ATTR_GEN_AI_AGENT_NAME,
  ATTR_GEN_AI_AGENT_VERSION,
  ATTR_GEN_AI_CONVERSATION_ID,
  ATTR_GEN_AI_OPERATION_NAME,
  ATTR_GEN_AI_PROVIDER_NAME,
  ATTR_GEN_AI_TOOL_CALL_ID,
  ATTR_GEN_AI_TOOL_NAME,
  ATTR_GEN_AI_WORKFLOW_NAME,
  ATTR_HTTP_REQUEST_METHOD,
  ATTR_HTTP_RESPONSE_STATUS_CODE,
  ATTR_SERVER_ADDRESS,
  ATTR_SERVER_PORT,
];
const KEPT_RESOURCE_ATTRIBUTES: readonly string[] = [ATTR_SERVICE_NAME, ATTR_HOST_NAME];
const SCOPE = { name: "@otel-audit/collector", version: VERSION };

/**
 * Derives audit records from spans of other instrumentations (GenAI tools, HTTP clients, databases, files): ids, times and
 * names of the original, what it means as an action, and no more of its attributes than is known to be harmless. Off for every service that has sent `effect` records: there the same action is recorded already.
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
    const { name, traceId, spanId, parentSpanId, traceState, kind, startTimeUnixNano, endTimeUnixNano, status } =
      decodeSpan(bytes, start, end);
    const record = encodeSpan({
      name,
      traceId,
      spanId,
      startTimeUnixNano,
      endTimeUnixNano,
      ...(parentSpanId !== undefined && { parentSpanId }),
      ...(traceState !== undefined && { traceState }),
      ...(kind !== undefined && { kind }),
      ...(status?.code !== undefined && { status: { code: status.code } }),
      attributes: {
        ...pick(attributes, KEPT_ATTRIBUTES),
        ...action,
        ...deriveIdentity(attributes, resource, this.#span.statusCode),
        [ATTR_AUDIT_RECORD_ORIGIN]: AUDIT_RECORD_ORIGIN_VALUE_CLASSIFIED,
        [ATTR_AUDIT_SCHEMA_VERSION]: SCHEMA_VERSION,
      },
    });
    return frameSpans(pick(resource, KEPT_RESOURCE_ATTRIBUTES), SCOPE, [record]);
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

function pick(attributes: Attributes, keys: readonly string[]): Attributes {
  return Object.fromEntries(keys.flatMap((key) => (key in attributes ? [[key, attributes[key]!]] : [])));
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
