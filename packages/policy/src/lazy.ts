import { createRequire } from "node:module";
import type * as Yaml from "yaml";
import type * as Zod from "zod";

// The two libraries are 170 files, and needed only where a document is read. Whoever imports this package to judge, in
// every process that is audited, should not wait for them. `parse` is synchronous, and so is `require`.
const require = createRequire(import.meta.url);

/** The YAML library, loaded by the first call. */
export function yamlLibrary(): typeof Yaml {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the package's own types
  return require("yaml") as typeof Yaml;
}

/** The schema library, loaded by the first call. */
export function zodLibrary(): typeof Zod {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the package's own types
  return require("zod") as typeof Zod;
}
