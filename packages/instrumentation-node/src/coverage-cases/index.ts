import { fetchLibrary } from "./fetch.ts";
import { fsLibrary } from "./fs.ts";
import { httpLibrary } from "./http.ts";
import type { CoverageLibrary } from "./library.ts";
import { netLibrary } from "./net.ts";
import { pgLibrary } from "./pg.ts";
import { processLibrary } from "./process.ts";

/** Every library whose actions are recorded, in the order of docs/coverage.md. */
export const libraries: readonly CoverageLibrary[] = [
  fsLibrary,
  httpLibrary,
  fetchLibrary,
  pgLibrary,
  processLibrary,
  netLibrary,
];
