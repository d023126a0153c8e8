import * as fs from "node:fs";
import { frameSpans, scanTraces } from "@otel-audit/otlp";
import { expect, test } from "vitest";
import { ByteBuffer } from "./byte-buffer.ts";
import { rowHash, uuidBytes } from "./row-decode.ts";
import { RowEncoder, placeRows } from "./row-encoder.ts";
import { COLUMNS, LIMITS, RowFlag } from "./row-format.ts";

const document = fs.readFileSync(new URL("../../../docs/evidence-format.md", import.meta.url), "utf8");

function section(title: string): string {
  return new RegExp(`^## ${title}\n([^]*?)(?=^## |$(?![^]))`, "m").exec(document)?.[1] ?? "";
}

function cells(title: string): string[][] {
  const rows = section(title)
    .split("\n")
    .filter((line) => line.startsWith("|"));
  // Formatters widen a table's cells.
  return rows.slice(2).map((line) =>
    line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

function hex(name: string): Buffer {
  const block = new RegExp(`^\`\`\`hex ${name}\n([^]*?)\`\`\``, "m").exec(document)?.[1] ?? "";
  return Buffer.from(block.replaceAll("\n", ""), "hex");
}

test("the documented columns, limits and flags are those of the code", () => {
  expect(cells("Row format 1")).toEqual(COLUMNS.map(({ name, type }, i) => [String(i + 1), name, `\`${type}\``]));
  expect(cells("Limits").map(([, value]) => Number(value))).toEqual(Object.values(LIMITS));
  expect(cells("Flags").map(([bit, name]) => [name, Number(bit)])).toEqual(Object.entries(RowFlag));
});

test("the documented span becomes the documented row with the documented leaf", () => {
  const request = frameSpans({ "service.name": "support" }, { name: "docs", version: "1" }, [hex("span")]);
  const out = new ByteBuffer();
  const encoder = new RowEncoder();
  encoder.begin({ provenance: "asserted", principal: "", tenantId: "" });
  encoder.encode(out, scanTraces(request), 0);
  const stream = uuidBytes("0f8fad5b-d9cb-469f-a165-70867728950e");
  placeRows(out.bytes, [0, out.length], { stream, sequence: 1n, receivedAt: 1_795_305_600_100_000_000n });
  const row = out.bytes.subarray(0, out.length);
  expect(row.toString("hex")).toBe(hex("row").toString("hex"));
  expect(rowHash(row)).toBe(hex("leaf").toString("hex"));
});
