#!/usr/bin/env node
// Plain JavaScript for any Node: it says what is missing before anything modern is loaded.
import { existsSync } from "node:fs";

// At this signal, which log rotators send, Node opens a debugger: everybody on the machine could then run code in here.
process.on("SIGUSR1", () => {});

const [major, minor] = process.versions.node.split(".").map(Number);
const main = new URL("../dist/main.js", import.meta.url);
if (major < 22 || (major === 22 && minor < 15)) {
  process.stderr.write(
    `otel-audit: needs Node 22.15 or newer, this is ${process.version}; in a clone, \`npx otel-audit\` brings its own\n`,
  );
  process.exit(2);
}
if (!existsSync(main)) {
  process.stderr.write("otel-audit: not built yet; run `npm run build` at the root of the repository first\n");
  process.exit(2);
}
await import(main.href);
