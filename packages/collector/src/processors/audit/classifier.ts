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
  ATTR_AUDIT_OUTCOME,
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
  AUDIT_OUTCOME_VALUE_FAILURE,
  AUDIT_OUTCOME_VALUE_SUCCESS,
  AUDIT_RECORD_ORIGIN_VALUE_CLASSIFIED,
  AUDIT_RECORD_ORIGIN_VALUE_EFFECT,
  SCHEMA_VERSION,
} from "@otel-audit/semantic-conventions";
import { setImmediate } from "node:timers/promises";
import { partEnd } from "../../parts.ts";
import { SCOPE } from "../../service/version.ts";
import type { SharedNames } from "./shared-names.ts";
import { deriveAction, deriveActor, text, type Attributes, type Sender } from "./derive.ts";

const STATUS_CODE_ERROR = 2;

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

/**
 * Derives audit records from spans of other instrumentations (GenAI tools, HTTP clients, databases, files): ids, times and
 * names of the original, what it means as an action, and no more of its attributes than is known to be harmless. Off for every
 * service of which the same sender has had `effect` records stored: there the same action is recorded already.
 */
export class Classifier {
  readonly #services: ReadonlySet<string>;
  /** By sender: nobody switches it off for what another one sends. */
  readonly #instrumented: SharedNames;
  readonly #span = new SpanFields();
  readonly #resource = new AttributeList();

  /**
   * @param services `service.name` values; `"*"` is every service
   * @param instrumented services that record their own effects, as all workers know them
   */
  constructor(services: readonly string[], instrumented: SharedNames) {
    this.#services = new Set(services);
    this.#instrumented = instrumented;
  }

  /** A request with the derived records; undefined where there are none. `index` is used until it resolves. */
  async classify(index: SpanIndex, sender: Sender): Promise<Uint8Array | undefined> {
    const requests: Uint8Array[] = [];
    for (let from = 0, to: number; from < index.count; from = to) {
      if (from > 0) await setImmediate();
      to = partEnd(index, from);
      this.#classifyPart(index, from, to, sender, requests);
    }
    // Requests are repeated fields: put one after the other they are one request.
    return requests.length === 0 ? undefined : Buffer.concat(requests);
  }

  #classifyPart(index: SpanIndex, from: number, to: number, sender: Sender, requests: Uint8Array[]): void {
    let resourceRow = -1;
    let resource: Attributes = {};
    let isCovered = false;
    for (let i = from; i < to; i++) {
      if (index.flags[i]! & (SPAN_AUDIT | SPAN_MALFORMED)) continue;
      if (index.resource[i] !== resourceRow) {
        resourceRow = index.resource[i]!;
        resource = this.#readResource(index, resourceRow);
        isCovered = this.#isCovered(text(resource[ATTR_SERVICE_NAME]), sender);
      }
      if (!isCovered) continue;
      const copy = this.#derive(index, i, resource, sender);
      if (copy) requests.push(copy);
    }
  }

  /** Remembers which services record their own effects, from a request of which every record was stored. `index` is used until it resolves. */
  async learn(index: SpanIndex, sender: Sender): Promise<void> {
    for (let from = 0, to: number; from < index.count; from = to) {
      if (from > 0) await setImmediate();
      to = partEnd(index, from);
      this.#learnPart(index, from, to, sender);
    }
  }

  #learnPart(index: SpanIndex, from: number, to: number, sender: Sender): void {
    let resourceRow = -1;
    let unknown: string | undefined;
    for (let i = from; i < to; i++) {
      if ((index.flags[i]! & (SPAN_AUDIT | SPAN_MALFORMED)) !== SPAN_AUDIT) continue;
      if (index.resource[i] !== resourceRow) {
        resourceRow = index.resource[i]!;
        const service = text(this.#readResource(index, resourceRow)[ATTR_SERVICE_NAME]);
        unknown = service !== "" && this.#isCovered(service, sender) ? service : undefined;
      }
      if (unknown === undefined) continue;
      readSpan(index.bytes, index.start[i]!, index.end[i]!, this.#span);
      const { [ATTR_AUDIT_RECORD_ORIGIN]: origin } = toObject(index.bytes, this.#span.attributes);
      if (origin !== AUDIT_RECORD_ORIGIN_VALUE_EFFECT) continue;
      this.#instrumented.add(keyOf(unknown, sender));
      unknown = undefined;
    }
  }

  #isCovered(service: string, sender: Sender): boolean {
    if (!this.#services.has("*") && !this.#services.has(service)) return false;
    return !this.#instrumented.has(keyOf(service, sender));
  }

  #derive(index: SpanIndex, i: number, resource: Attributes, sender: Sender): Uint8Array | undefined {
    const { bytes } = index;
    const start = index.start[i]!;
    const end = index.end[i]!;
    readSpan(bytes, start, end, this.#span);
    const attributes = toObject(bytes, this.#span.attributes);
    const action = deriveAction(attributes, this.#span.kind, readText(bytes, this.#span.nameStart, this.#span.nameEnd));
    if (!action) return undefined;
    const { name, traceId, spanId, parentSpanId, traceState, kind, startTimeUnixNano, endTimeUnixNano, status } =
      decodeSpan(bytes, start, end);
    const isFailed = this.#span.statusCode === STATUS_CODE_ERROR;
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
        ...deriveActor(attributes, resource, sender),
        [ATTR_AUDIT_OUTCOME]: isFailed ? AUDIT_OUTCOME_VALUE_FAILURE : AUDIT_OUTCOME_VALUE_SUCCESS,
        [ATTR_AUDIT_RECORD_ORIGIN]: AUDIT_RECORD_ORIGIN_VALUE_CLASSIFIED,
        [ATTR_AUDIT_SCHEMA_VERSION]: SCHEMA_VERSION,
      },
    });
    return frameSpans(pick(resource, KEPT_RESOURCE_ATTRIBUTES), SCOPE, [record]);
  }

  #readResource(index: SpanIndex, row: number): Attributes {
    readResource(index.bytes, index.resourceStart[row]!, index.resourceEnd[row]!, this.#resource);
    return toObject(index.bytes, this.#resource);
  }
}

/** Ids of credentials have no NUL. */
function keyOf(service: string, { principal }: Sender): string {
  return `${principal}\0${service}`;
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
