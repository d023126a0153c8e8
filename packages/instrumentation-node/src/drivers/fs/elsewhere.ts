import { join } from "node:path";
import v8 from "node:v8";

import { EVENT_FILE_READ, EVENT_FILE_WRITE } from "@otel-audit/semantic-conventions";

import { replace } from "../../patch.ts";
import { property } from "../../unknown.ts";
import { fileName, type Meaning, workingDirectory } from "./paths.ts";
import { patchSqlite } from "./sqlite.ts";
import type { Row } from "./table.ts";
import { WRAPS } from "./wrap.ts";

// Files that are read and written by other parts of Node than `fs`.

const READ: Meaning = { event: EVENT_FILE_READ, action: "READ" };
const WRITE: Meaning = { event: EVENT_FILE_WRITE, action: "WRITE" };

/** In a process that may not, there is no report. */
const report: unknown = process.report;

const FUNCTIONS: readonly (readonly [holder: unknown, row: Row])[] = [
  [process, { name: "loadEnvFile", describe: ([path]) => fileName(path ?? ".env")?.action(READ) }],
  [v8, { name: "writeHeapSnapshot", describe: ([path]) => fileName(path ?? ".")?.action(WRITE) }],
  [report, { name: "writeReport", describe: ([file]) => reportFile(file)?.action(WRITE) }],
];

export function patchElsewhere(): ((() => void) | undefined)[] {
  return [
    ...FUNCTIONS.map(([holder, row]) =>
      typeof holder === "object" && holder !== null
        ? replace(holder, row.name, (original) => WRAPS.sync(row, original))
        : undefined,
    ),
    ...patchSqlite(),
  ];
}

/** Where no name is given, Node makes one up: the record has the directory. */
function reportFile(file: unknown): ReturnType<typeof fileName> {
  const name = typeof file === "string" ? file : "";
  if (name === "stdout" || name === "stderr") return undefined;
  const directory: unknown = property(report, "directory");
  const base = typeof directory === "string" && directory !== "" ? directory : workingDirectory();
  return fileName(name.startsWith("/") ? name : join(base, name));
}
