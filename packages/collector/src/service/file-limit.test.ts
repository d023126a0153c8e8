import { expect, it } from "vitest";
import { fileLimit, maxConnections } from "./file-limit.ts";

it("reads the limit that the system has", () => {
  const report = process.report.getReport() as { userLimits: { open_files: { soft: number | "unlimited" } } };
  const { soft } = report.userLimits.open_files;
  expect(fileLimit()).toBe(soft === "unlimited" ? Infinity : soft);
});

it.each([
  [2, 500, 125],
  [4, 1_024, 128],
  [2, 16_384, 4_096],
  [2, 1_048_576, 4_096],
  [128, Infinity, 4_096],
  [128, 100, 1],
])("leaves each of %d servers with %d files room for %d connections", (servers, files, room) => {
  expect(maxConnections(servers, files)).toBe(room);
});
