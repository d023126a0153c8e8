const SECRET = /password|token|secret|headers/i;
/** As otelcol writes it. */
const REDACTED = "[REDACTED]";
/** What a URL begins with, what may be its credentials and host, and what may be its query and fragment. */
const URL_PARTS = /([a-z][a-z0-9+.-]*:\/\/)([^?#]*)(.*)/is;
/** Section, component, setting. */
const SETTINGS_DEPTH = 2;

/** A setting whose value no error and no printed configuration repeats. A path to a secret is none. */
function isSecret(key: PropertyKey): boolean {
  return typeof key === "string" && SECRET.test(key) && !key.endsWith("_file");
}

/** A part of a configuration as it may be shown: without secrets, in settings and in URLs. */
export function redact(value: unknown, path: readonly PropertyKey[]): unknown {
  if (Array.isArray(value)) return value.map((item) => redact(item, path));
  if (typeof value === "object" && value !== null)
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, redact(item, [...path, key])]));
  // A component may have any name.
  if (path.slice(SETTINGS_DEPTH).some(isSecret)) return value === null ? value : REDACTED;
  return typeof value === "string" ? redactUrl(value) : value;
}

/** A text that may be a URL, or something like it that no parser takes: without credentials and query. */
export function redactUrl(text: string): string {
  return text.replace(URL_PARTS, (_, scheme: string, place: string, query: string) => {
    // It is part of a password that nobody has escaped, or of a query: nothing that follows is surely public.
    if (query.includes("@")) return `${scheme}${REDACTED}`;
    const at = place.lastIndexOf("@");
    const public_ = at < 0 ? place : `${REDACTED}@${place.slice(at + 1)}`;
    return `${scheme}${public_}${query === "" ? "" : `${query[0]}${REDACTED}`}`;
  });
}
