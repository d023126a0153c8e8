import type { LoadFnOutput } from "node:module";

const MODULE = /\/node_modules\/@modelcontextprotocol\/sdk\/dist\/esm\/shared\/protocol\.js$/;
const CLASS = /^export class Protocol\b/m;

/**
 * The source of the module with two lines more, which hand its class to us. An import of our own module and not a
 * function on globalThis, where anybody could take its place.
 */
export function handOver(url: string, loaded: LoadFnOutput): LoadFnOutput {
  if (loaded.format !== "module" || !MODULE.test(url)) return loaded;
  const { source } = loaded;
  if (source === null || source === undefined) return loaded;
  const text = typeof source === "string" ? source : new TextDecoder().decode(source);
  if (!CLASS.test(text)) return loaded;
  const adopter = JSON.stringify(new URL("adopt.js", import.meta.url).href);
  // After the last line: the others keep their numbers.
  return {
    ...loaded,
    source: `${text}\nimport { adopt as otelAuditAdopt } from ${adopter};\notelAuditAdopt(Protocol);\n`,
  };
}
