import { createRequire } from "node:module";

const manifest: unknown = createRequire(import.meta.url)("../../package.json");

/** The version of this package. */
export const VERSION = (manifest as { version: string }).version;
