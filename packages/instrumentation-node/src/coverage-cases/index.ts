import { fsLibrary } from "./fs.ts";
import { httpLibrary } from "./http.ts";
import { pgLibrary } from "./pg.ts";
import type { CoverageLibrary } from "./library.ts";

/** Every library whose actions are recorded, in the order of docs/coverage.md. */
export const libraries: readonly CoverageLibrary[] = [fsLibrary, httpLibrary, pgLibrary];
