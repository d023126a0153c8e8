import { readdirSync } from "node:fs";
import { join } from "node:path";

import { expect, test } from "vitest";

import { decodeTraces, frameSpans } from "@otel-audit/otlp";

import { tempDir } from "../../../../test/support/index.ts";
import { BegunOperation } from "../operation.ts";
import { type Begun, RecordEncoder } from "../record-encoder.ts";
import type { SpoolContents } from "./contents.ts";
import { Leftover } from "./leftover.ts";
import { readOwner, thisOwner } from "./owner.ts";
import { Spool } from "./spool.ts";

const ACTION: Omit<Begun, "sequence" | "recordId"> = {
  event: "http.request",
  name: "GET",
  action: "READ",
  actor: undefined,
  targets: [{ type: "http.endpoint", id: "https://example.com/" }],
  verdict: {
    decision: "allow",
    enforcement: "observed",
    policyId: "none",
    policyVersion: "",
    ruleId: "default",
    reason: "no policy",
    action: "READ",
  },
  attributes: undefined,
  endRoom: 40,
  parent: undefined,
  startMicros: 1_763_764_800_123_456,
};

/** From here on files are mapped. */
const MAPPED = 600;
const ENDS = [undefined, 200, 2 ** 27, "text that there is no room for in the intent", "x"];

const encoder = new RecordEncoder();

function begin(spool: Spool): BegunOperation {
  const sequence = spool.nextSequence;
  const begun = { ...ACTION, sequence, recordId: String(sequence) };
  const operation = new BegunOperation(begun, (_, end) => {
    encoder.tail(begun, end, begun.startMicros + 1);
    spool.end(operation, encoder.bytes, encoder.length, false);
  });
  encoder.intent(begun);
  spool.begin(operation, encoder.bytes, encoder.length, encoder.headLength, false);
  return operation;
}

/** Number, outcome and status of all that can be sent. */
function told(contents: SpoolContents | undefined): [number, unknown, unknown][] {
  const spans = Array.from({ length: contents?.count ?? 0 }, (_, i) => contents?.span(i)).filter(
    (span) => span !== undefined,
  );
  const decoded = decodeTraces(frameSpans({}, { name: "test" }, spans)).resourceSpans[0]?.scopeSpans[0]?.spans ?? [];
  return decoded.map(({ attributes }) => [
    Number(attributes?.["audit.record.id"]),
    attributes?.["audit.outcome"],
    attributes?.["http.response.status_code"],
  ]);
}

test.each([1, MAPPED])("what an end adds is told, whether there is room for it or not (from record %d)", (first) => {
  const dir = join(tempDir("spool"), "s");
  const spool = new Spool(dir, thisOwner({}, { name: "test", version: "0" }), 1 << 28);
  while (spool.nextSequence < first) begin(spool).end();
  const open = ENDS.map(() => begin(spool));
  const begun = begin(spool);
  open.forEach((operation, i) => {
    const status = ENDS[i];
    operation.end(undefined, status === undefined ? undefined : { "http.response.status_code": status });
  });
  spool.rotate();
  const all = spool.closedFiles().flatMap((file) => told(file.read()));
  expect(all.slice(first - 1).toSorted(([a], [b]) => a - b)).toEqual(
    ENDS.map((status, i) => [first + i, "success", status]),
  );
  spool.close();

  const [folder = ""] = readdirSync(dir);
  const owner = readOwner(join(dir, folder));
  if (owner === undefined) throw new Error("no owner");
  const leftover = new Leftover(join(dir, folder), owner);
  const left = leftover.paths.flatMap((path) => told(leftover.read(path)));
  expect(left).toContainEqual([begun.sequence, "unknown", undefined]);
  expect(left).toHaveLength(all.length + 1);
});

test("in a mapped file an end that there is room for is no frame of its own", () => {
  const spool = new Spool(join(tempDir("spool"), "s"), thisOwner({}, { name: "test", version: "0" }), 1 << 28);
  while (spool.nextSequence < MAPPED) begin(spool).end();
  begin(spool).end(undefined, { "http.response.status_code": 404 });
  begin(spool).end("404", { "http.response.status_code": 404 });
  spool.rotate();
  const contents = spool.closedFiles().at(-1)?.read();
  const last = (contents?.count ?? 0) - 1;
  expect([0, 1, 2].map((back) => contents?.sequence(last - back))).toEqual([MAPPED + 1, MAPPED + 1, MAPPED]);
  spool.close();
});
