// `npm run coverage:docs` writes docs/coverage.md from the tables that coverage.test.ts proves.
import { writeFileSync } from "node:fs";

import { libraries } from "./index.ts";
import { CHANNELS, type CoverageCase, type CoverageLibrary } from "./library.ts";

export const COVERAGE_DOCS = new URL("../../../../docs/coverage.md", import.meta.url);

const HEAD = `<!-- Made by \`npm run coverage:docs\` from packages/instrumentation-node/src/coverage-cases. Do not edit. -->

# Coverage

What is recorded of each API. Every line is a case that the tests run in real processes: under each import style (CommonJS, ES
module default, namespace and named), with OpenTelemetry's official instrumentations installed before, after and not
at all. Each case makes exactly the records listed, its results and errors are those of a process without audit, and a
policy that denies it stops it in the way of the last column, with \`AuditPolicyDeniedError\`.

What stands under "not seen" makes no record.
`;

export function coverageDocs(): string {
  return [HEAD, ...libraries.map(section)].join("\n");
}

function section(library: CoverageLibrary): string {
  const rows = library.cases.map(row);
  return [
    `## ${library.name}`,
    "",
    ...table([["API", "form", "recorded as", "denied by"], ...rows]),
    "",
    ...(library.notSeen === undefined ? [] : notSeen(library.notSeen)),
  ].join("\n");
}

function row(each: CoverageCase): string[] {
  const notes = [each.note, each.since === undefined ? undefined : `Node ${each.since} on`].filter((note) => note);
  const api = `\`${each.api}\`${notes.length === 0 ? "" : ` (${notes.join(", ")})`}`;
  const records = each.records.map((record) => `\`${record}\``).join("<br>");
  return [api, each.form, records === "" ? "not seen" : records, denied(each)];
}

function denied({ denied, form, notDenied, records }: CoverageCase): string {
  if (records.length === 0 || notDenied) return "—";
  return denied === undefined || denied === "throw" ? CHANNELS[denied === "throw" ? "sync" : form] : CHANNELS[denied];
}

function notSeen(list: NonNullable<CoverageLibrary["notSeen"]>): string[] {
  return ["Not seen:", "", ...list.map(({ api, why }) => `- ${api}: ${why}`), ""];
}

/** Columns padded as the formatter does. */
function table(rows: readonly (readonly string[])[]): string[] {
  const cells = rows.map((cells) => cells.map((cell) => cell.replaceAll("|", "\\|")));
  const widths = (cells[0] ?? []).map((_, column) => Math.max(3, ...cells.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(" | ")} |`;
  const [head = [], ...rest] = cells;
  return [line(head), `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`, ...rest.map(line)];
}

if (import.meta.main) writeFileSync(COVERAGE_DOCS, coverageDocs());
