// Bundles src/ into dist/: a process that is audited waits for its start, and half of that was the reading of 150 files.
// Types come from tsc. Run by `npm run build`.

import { rmSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { rolldown } from "rolldown";

const dist = fileURLToPath(new URL("dist", import.meta.url));

/** What is loaded by its file name; the rest goes into chunks that these share, so that a process has one copy of it. */
const ENTRIES = {
  index: "src/index.ts",
  register: "src/register.ts",
  "register-sync": "src/register-sync.ts",
  adopt: "src/drivers/mcp/adopt.ts",
  loader: "src/drivers/mcp/loader.ts",
};

rmSync(dist, { recursive: true, force: true });
const bundle = await rolldown({
  cwd: import.meta.dirname,
  input: ENTRIES,
  platform: "node",
  // Packages of this repository are bundled; others are found by whoever installs this one.
  external: (id) => /^(?!@otel-audit\/)[@\w]/.test(id),
});
// Not minified: an error shows the line that threw it, and an auditor may read what runs.
await bundle.write({ dir: dist, format: "esm", comments: false, sourcemap: true, entryFileNames: "[name].js" });
