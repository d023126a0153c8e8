import { readFileSync } from "node:fs";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import type { CaseResult } from "./app.ts";
import { COVERAGE_DOCS, coverageDocs } from "./docs.ts";
import { libraries } from "./index.ts";
import { IMPORT_STYLES } from "./library.ts";
import {
  expectedDenials,
  expectedRecords,
  madeDenials,
  madeRecords,
  OFFICIAL,
  prove,
  type Servers,
  startServers,
} from "./prove.ts";

describe.each(libraries.map((library) => [library.name, library] as const))("%s", (_, library) => {
  let servers: Servers;
  beforeAll(async () => {
    servers = await startServers(library);
  });
  afterAll(() => servers.close());

  describe.each(IMPORT_STYLES)("%s import", (style) => {
    let results: readonly CaseResult[];
    beforeAll(async () => {
      ({ results } = await prove(library, servers, { style, official: "none", audit: "none" }));
    });

    test.each(OFFICIAL)("official instrumentations: %s", async (official) => {
      const proof = await prove(library, servers, { style, official });
      expect(madeRecords(proof)).toEqual(expectedRecords(proof.cases));
      expect(proof.others).toEqual([]);
      expect(proof.results).toEqual(results);
    });
  });

  test.each([
    { style: "CommonJS", official: "none" },
    { style: "named", official: "before" },
  ] as const)("denied: $style import, official instrumentations: $official", async (combination) => {
    const proof = await prove(library, servers, { ...combination, audit: "deny" });
    expect(madeDenials(proof)).toEqual(expectedDenials(proof.cases));
    expect(proof.others).toEqual([]);
  });
});

test("docs/coverage.md says what is proved here", () => {
  expect(readFileSync(COVERAGE_DOCS, "utf8"), "run `npm run coverage:docs`").toBe(coverageDocs());
});
