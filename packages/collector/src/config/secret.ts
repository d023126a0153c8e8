const SECRET = /password|token|secret|headers/i;
/** As otelcol writes it. */
const REDACTED = "[REDACTED]";
/** What a URL begins with. */
const SCHEME = /[a-z][a-z0-9+.-]*:\/\//i;
/** What may be credentials and host, and what may be query and fragment. */
const PARTS = /^([^?#]*)(.*)$/s;
/** Settings that hold a URL or an address, or something that was meant to be one. */
const PLACE = /(?:endpoint|address)$/;
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
  if (typeof value !== "string") return value;
  const setting = path.findLast((key) => typeof key === "string");
  return SCHEME.test(value) || (setting !== undefined && PLACE.test(setting)) ? redactUrl(value) : value;
}

/** A URL, an address, or what no parser takes for one: without credentials and query. */
export function redactUrl(text: string): string {
  const scheme = SCHEME.exec(text);
  const start = scheme ? scheme.index + scheme[0].length : 0;
  const [, place = "", query = ""] = PARTS.exec(text.slice(start)) ?? [];
  const before = text.slice(0, start);
  // It is part of a password that nobody has escaped, or of a query: nothing that follows is surely public.
  if (query.includes("@")) return `${before}${REDACTED}`;
  const at = place.lastIndexOf("@");
  const shown = at < 0 ? place : `${REDACTED}@${place.slice(at + 1)}`;
  return `${before}${shown}${query === "" ? "" : `${query[0]}${REDACTED}`}`;
}
