import { readFile } from "node:fs/promises";
import { CollectorError, fileTrouble } from "../errors.ts";
import { DEFAULT_CONFIG } from "./default-config.ts";
import { isMap, parseYaml } from "./yaml.ts";

const SCHEME = /^(?<scheme>[A-Za-z][A-Za-z0-9+.-]+):(?<rest>.*)$/s;
/** How deep `--set` and `yaml:` may reach: deeper than any setting. */
const MAX_KEYS = 16;
/** Keys that would reach into JavaScript's own objects. */
const FORBIDDEN_KEYS = new Set(["__proto__", "constructor", "prototype"]);

/**
 * Reads what `--config` names and merges it in that order: maps are merged, everything else is replaced by the later one
 * (lists too), as otelcol does.
 *
 * @param uris none: the configuration that is built in; `config.yaml`, `file:config.yaml`, `env:NAME` (a variable that holds YAML), or `yaml:a::b: value`
 * @param settings `a.b=value`, after all files
 */
export async function readSources(
  uris: readonly string[],
  settings: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Promise<unknown> {
  const documents: unknown[] = uris.length === 0 ? [parseYaml(DEFAULT_CONFIG, "built-in configuration")] : [];
  for (const uri of uris) documents.push(await readSource(uri, env));
  for (const setting of settings) documents.push(parseSetting(setting));
  return documents.reduce((merged, document) => merge(merged, document), undefined);
}

async function readSource(uri: string, env: Readonly<Record<string, string | undefined>>): Promise<unknown> {
  const { scheme = "file", rest = uri } = SCHEME.exec(uri)?.groups ?? {};
  switch (scheme) {
    case "file":
      return parseYaml(await readConfigFile(rest), rest);
    case "env": {
      const text = env[rest];
      if (text === undefined) throw invalid(`--config ${uri}: the variable ${rest} is not set`);
      return parseYaml(text, uri);
    }
    case "yaml":
      return unfold(parseYaml(rest, uri), "::", uri);
    case "http":
    case "https":
      throw invalid(
        `--config ${uri}: a configuration is not fetched over the network: who answers there would decide what is recorded; download it and give the file`,
      );
    default:
      throw invalid(`--config ${uri}: the scheme "${scheme}" is not known; use a file, file:, env: or yaml:`);
  }
}

async function readConfigFile(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (cause) {
    throw new CollectorError("INVALID_CONFIG", `--config: cannot read "${file}": ${fileTrouble(cause)}`, { cause });
  }
}

/** `exporters.otlphttp.timeout=5s`; the value is YAML. */
function parseSetting(setting: string): unknown {
  const at = setting.indexOf("=");
  if (at < 1) throw invalid(`--set ${setting}: write key=value, for example exporters.otlphttp.timeout=5s`);
  const key = setting.slice(0, at);
  // Not the value, which may be a secret.
  const what = `--set ${key}`;
  return unfold({ [key]: parseYaml(setting.slice(at + 1), what) ?? null }, ".", what);
}

/** `{ "a::b": 1 }` is `{ a: { b: 1 } }`. */
function unfold(document: unknown, separator: string, what: string): unknown {
  if (!isMap(document)) return document;
  let result: unknown;
  for (const [key, value] of Object.entries(document)) {
    const keys = key.split(separator);
    if (keys.length > MAX_KEYS || keys.some((part) => part === ""))
      throw invalid(`${what}: "${key}" does not name a setting`);
    result = merge(
      result,
      keys.reduceRight<unknown>((inner, part) => ({ [part]: inner }), value),
    );
  }
  return result;
}

/** The later document wins; maps are merged. */
export function merge(earlier: unknown, later: unknown): unknown {
  if (earlier === undefined) return later;
  if (!isMap(earlier) || !isMap(later)) return later;
  const merged: Record<string, unknown> = { ...earlier };
  for (const [key, value] of Object.entries(later)) {
    if (FORBIDDEN_KEYS.has(key)) throw invalid(`"${key}" is not a setting`);
    merged[key] = Object.hasOwn(merged, key) ? merge(merged[key], value) : value;
  }
  return merged;
}

function invalid(message: string): CollectorError {
  return new CollectorError("INVALID_CONFIG", message);
}
