import { checkResource } from "./check.ts";
import { FieldCursor } from "./cursor.ts";
import { failure } from "./errors.ts";
import { REQUEST, RESOURCE, RESOURCE_SPANS, SCOPE_SPANS } from "./shapes.ts";
import type { MessageShape } from "./shapes.ts";
import { text } from "./text.ts";
import { uint32At } from "./wire.ts";

/** How the two decoders (to objects, to JSON) build their parts from message bodies. */
interface Builders<Resource, Scope, Span> {
  resource(bytes: Uint8Array, start: number, end: number, droppedAttributes: number): Resource;
  scope(bytes: Uint8Array, start: number, end: number): Scope;
  span(bytes: Uint8Array, start: number, end: number): Span;
}

interface BuiltScopeSpans<Scope, Span> {
  scope?: Scope;
  spans: Span[];
  schemaUrl?: string;
}

interface BuiltResourceSpans<Resource, Scope, Span> {
  resource?: Resource;
  scopeSpans: BuiltScopeSpans<Scope, Span>[];
  schemaUrl?: string;
}

/** Builds a whole request. @throws {OtlpError} on any damage, also where `scanTraces` would only flag a span. */
export function buildTraces<Resource, Scope, Span>(
  bytes: Uint8Array,
  builders: Builders<Resource, Scope, Span>,
): BuiltResourceSpans<Resource, Scope, Span>[] {
  const resourceSpans: BuiltResourceSpans<Resource, Scope, Span>[] = [];
  each(REQUEST, bytes, 0, bytes.length, (field, start, end) => {
    if (field === 1) resourceSpans.push(buildResourceSpans(bytes, start, end, builders));
  });
  return resourceSpans;
}

function buildResourceSpans<Resource, Scope, Span>(
  bytes: Uint8Array,
  from: number,
  to: number,
  builders: Builders<Resource, Scope, Span>,
): BuiltResourceSpans<Resource, Scope, Span> {
  const built: BuiltResourceSpans<Resource, Scope, Span> = { scopeSpans: [] };
  each(RESOURCE_SPANS, bytes, from, to, (field, start, end) => {
    if (field === 1) built.resource = builders.resource(bytes, start, end, droppedOfResource(bytes, start, end));
    else if (field === 2) built.scopeSpans.push(buildScopeSpans(bytes, start, end, builders));
    else if (field === 3 && start !== end) built.schemaUrl = text(bytes, start, end);
  });
  return built;
}

function buildScopeSpans<Resource, Scope, Span>(
  bytes: Uint8Array,
  from: number,
  to: number,
  builders: Builders<Resource, Scope, Span>,
): BuiltScopeSpans<Scope, Span> {
  const built: BuiltScopeSpans<Scope, Span> = { spans: [] };
  each(SCOPE_SPANS, bytes, from, to, (field, start, end) => {
    if (field === 1) built.scope = builders.scope(bytes, start, end);
    else if (field === 2) built.spans.push(builders.span(bytes, start, end));
    else if (field === 3 && start !== end) built.schemaUrl = text(bytes, start, end);
  });
  return built;
}

function droppedOfResource(bytes: Uint8Array, from: number, to: number): number {
  const code = checkResource(bytes, from, to);
  if (code < 0) throw failure(code, RESOURCE.name, from);
  let dropped = 0;
  each(RESOURCE, bytes, from, to, (field, start, end) => {
    if (field === 2) dropped = uint32At(bytes, start, end);
  });
  return dropped;
}

/** Calls `visit` for every field of a message. @throws {OtlpError} when the message breaks the rules of its shape. */
function each(
  shape: MessageShape,
  bytes: Uint8Array,
  start: number,
  end: number,
  visit: (field: number, start: number, end: number) => void,
): void {
  const cursor = new FieldCursor(shape);
  cursor.open(bytes, start, end);
  while (cursor.next()) visit(cursor.field, cursor.valueStart, cursor.valueEnd);
  if (cursor.error < 0) throw failure(cursor.error, shape.name, cursor.fieldStart);
}
