// CPU micros an audit record for each stage behind the receiver, one at a time on this thread: scan, row with log, reading a
// segment back, transposing. Beside them what stands there in the naive path: JSON lines from decoded rows. The least of many
// rounds, because other processes only ever add to a round.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { NativeTransposer } from "@otel-audit/exporter-clickhouse";
import { COLUMNS, decodeRow, Ledger, SegmentReader } from "@otel-audit/ledger";
import { SPAN_AUDIT, SpanIndex, scanTraces } from "@otel-audit/otlp";
import { Requests, SPANS } from "./collector/spans.ts";

const REQUESTS = 40;
const ROUNDS = 40;
const RECORDS = REQUESTS * SPANS;
const FACTS = { provenance: "asserted", principal: "", tenantId: "" } as const;

/** Least micros of CPU a record; the first rounds are the compiler's. */
async function measure(name: string, run: () => unknown, rounds = ROUNDS): Promise<void> {
  let least = Infinity;
  for (let round = 0; round < rounds; round++) {
    const before = process.cpuUsage();
    await run();
    const { user, system } = process.cpuUsage(before);
    least = Math.min(least, (user + system) / RECORDS);
  }
  process.stdout.write(`${name.padEnd(44)}${least.toFixed(2).padStart(7)}\n`);
}

const dir = mkdtempSync(join(tmpdir(), "bench-stages-"));
const ledger = await Ledger.open({ dir, maxSegmentAgeMs: 3_600_000 });
try {
  const source = new Requests(1);
  const index = new SpanIndex();
  const requests = Array.from({ length: REQUESTS }, () => source.next());
  for (const request of requests) await ledger.append(scanTraces(request, index), SPAN_AUDIT, FACTS);
  await ledger.rotate();
  const { path } = ledger.closedSegments()[0]!;
  const reader = new SegmentReader();
  const transposer = new NativeTransposer(COLUMNS);
  const { rows, offsets } = new SegmentReader().read(path);

  process.stdout.write(
    `${RECORDS} audit records, ${Math.round(rows.length / RECORDS)} bytes a row; µs of CPU a record\n`,
  );
  await measure("scan", () => requests.forEach((request) => scanTraces(request, index)));
  // New ids each time: a record that was seen before makes no row. So this includes making them.
  await measure("make a request (part of the next line)", () => requests.forEach(() => source.next()));
  await measure("row, window, log, fdatasync", async () => {
    for (let i = 0; i < REQUESTS; i++) await ledger.append(scanTraces(source.next(), index), SPAN_AUDIT, FACTS);
  });
  await measure("read a segment and check it", () => reader.read(path));
  await measure("transpose to Native", () => transposer.reuse(transposer.transpose(rows, offsets)));
  await measure(
    "beside it: decode rows, write JSON lines",
    () => {
      for (let i = 0; i < RECORDS; i++)
        JSON.stringify(decodeRow(rows, offsets[i]!).row, (_, value: unknown) =>
          typeof value === "bigint" ? String(value) : value,
        );
    },
    5,
  );
} finally {
  await ledger.close();
  rmSync(dir, { recursive: true, force: true });
}
