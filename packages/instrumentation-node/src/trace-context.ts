import { isFunction, property } from "./unknown.ts";

/** What a record needs of the application's active span. */
export interface ActiveSpan {
  /** 32 hex digits. */
  readonly traceId: string;
  /** 16 hex digits. */
  readonly spanId: string;
  readonly traceState?: { serialize(): string } | undefined;
}

interface Context {
  getValue(key: symbol): unknown;
  setValue(key: symbol, value: unknown): Context;
}

interface ContextManager {
  active(): Context;
  with<T>(context: Context, fn: () => T): T;
}

/**
 * Where every copy of @opentelemetry/api 1.x keeps what the application registered, and the keys by which the copies
 * share a context. Read from there, because importing the api could bring in a second copy (facts: the app's active
 * span is then invisible), and because an application without OpenTelemetry has no copy at all.
 */
const API = Symbol.for("opentelemetry.js.api.1");
const SPAN_KEY = Symbol.for("OpenTelemetry Context Key SPAN");
const SUPPRESS_TRACING_KEY = Symbol.for("OpenTelemetry SDK Context Key SUPPRESS_TRACING");

const VALID_TRACE_ID = /^(?!0{32})[0-9a-f]{32}$/;
const VALID_SPAN_ID = /^(?!0{16})[0-9a-f]{16}$/;

function contextManager(): ContextManager | undefined {
  const registered: typeof globalThis & { [API]?: { context?: ContextManager } } = globalThis;
  return registered[API]?.context;
}

/** The application's active span, sampled or not; undefined without one. Never throws. */
export function activeSpan(): ActiveSpan | undefined {
  const manager = contextManager();
  if (manager === undefined) return undefined;
  try {
    const span = manager.active().getValue(SPAN_KEY);
    const context = hasSpanContext(span) ? span.spanContext() : undefined;
    if (context === undefined || !VALID_TRACE_ID.test(context.traceId) || !VALID_SPAN_ID.test(context.spanId))
      return undefined;
    return context;
  } catch {
    return undefined;
  }
}

function hasSpanContext(span: unknown): span is { spanContext(): ActiveSpan } {
  return isFunction(property(span, "spanContext"));
}

/** Runs our own traffic so that other instrumentations make no debug spans of it. */
export function withoutDebugSpans<T>(fn: () => T): T {
  const manager = contextManager();
  return manager === undefined ? fn() : manager.with(manager.active().setValue(SUPPRESS_TRACING_KEY, true), fn);
}
