/** Version of this package; a test compares it with package.json. */
export const VERSION = "0.1.0";
/** Name of the instrumentation scope of every record. */
export const SCOPE_NAME = "@otel-audit/instrumentation-node";
