import type * as Http from "node:http";
import type * as Https from "node:https";
import { createRequire } from "node:module";

// `import` of a builtin reads every property of it, and on `http` some are getters that load undici: 25 ms and 9 MiB at
// the start of every program. `require` gives the object as it is, which is also what is patched.
const require = createRequire(import.meta.url);

/* oxlint-disable typescript/no-unsafe-type-assertion -- Node's own types */
export const http = require("node:http") as typeof Http;
export const https = require("node:https") as typeof Https;
