import { createRequire } from "node:module";
import type * as Yaml from "yaml";

// The library is 70 files, and needed only where a document is read. Whoever imports this package to judge, in every
// process that is audited, should not wait for it. `parse` is synchronous, and so is `require`.
const require = createRequire(import.meta.url);

/** The YAML library, loaded by the first call. */
export function yamlLibrary(): typeof Yaml {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the package's own types
  return require("yaml") as typeof Yaml;
}
