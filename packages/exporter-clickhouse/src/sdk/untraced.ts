/** The key under which every OpenTelemetry JS SDK looks; `createContextKey` makes the same symbol of the same text. */
const SUPPRESS_TRACING = "OpenTelemetry SDK Context Key SUPPRESS_TRACING";

/** Runs `start`, and all that it starts, where the application's instrumentation makes no spans. */
export async function untraced(start: () => void): Promise<void> {
  // Loaded only now: the package works without the API as long as nobody uses its SDK parts.
  const { context, createContextKey } = await import("@opentelemetry/api");
  context.with(context.active().setValue(createContextKey(SUPPRESS_TRACING), true), start);
}
