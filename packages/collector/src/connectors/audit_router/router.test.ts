import {
  decodeTraces,
  encodeSpan,
  encodeTraces,
  frameSpans,
  scanTraces,
  type SpanData,
  type TracesData,
} from "@otel-audit/otlp";
import { ATTR_AUDIT_ACTION } from "@otel-audit/semantic-conventions";
import { describe, expect, it } from "vitest";
import type { Consumer } from "../../component.ts";
import { testContext } from "../../testing/context.ts";
import { TraceBatch } from "../../trace-batch.ts";
import { AuditRouter } from "./router.ts";

let nextId = 1;
function span(name: string, audit: boolean): SpanData {
  return {
    traceId: "0af7651916cd43dd8448eb211c80319c",
    spanId: (nextId++).toString(16).padStart(16, "0"),
    name,
    startTimeUnixNano: 1n,
    endTimeUnixNano: 2n,
    attributes: audit ? { [ATTR_AUDIT_ACTION]: "READ" } : {},
  };
}

function request(...spans: SpanData[]): Uint8Array {
  return encodeTraces({
    resourceSpans: [
      { resource: { attributes: { "service.name": "s" } }, scopeSpans: [{ scope: { name: "scope" }, spans }] },
    ],
  });
}

function names(data: TracesData): string[] {
  return data.resourceSpans.flatMap(({ scopeSpans }) =>
    scopeSpans.flatMap(({ spans }) => spans.map(({ name }) => name)),
  );
}

function router(audit: Consumer, debug: Consumer[]): AuditRouter {
  const pipelines = new Map(debug.map((consumer, i) => [`traces/debug${i}`, consumer]));
  return new AuditRouter(
    { audit: ["traces/audit"], debug: [...pipelines.keys()] },
    new Map([...pipelines, ["traces/audit", audit]]),
    testContext("audit_router"),
  );
}

const collect = (into: TraceBatch[]): Consumer => ({ consume: async (batch) => (into.push(batch), []) });

describe("AuditRouter", () => {
  it("gives audit spans to the one side and all others to the other", async () => {
    const audit: TraceBatch[] = [];
    const debug: TraceBatch[] = [];
    const batch = TraceBatch.of(
      scanTraces(request(span("a", true), span("b", false), span("c", true), span("d", false))),
    );
    await router(collect(audit), [collect(debug)]).consume(batch);
    expect(audit).toEqual([batch]);
    expect(names(decodeTraces(debug[0]!.index.bytes))).toEqual(["b", "d"]);
    expect(debug[0]!.index.auditCount).toBe(0);
  });

  it("passes a request without audit spans as the very bytes that came", async () => {
    const audit: TraceBatch[] = [];
    const debug: TraceBatch[] = [];
    const bytes = request(span("b", false));
    await router(collect(audit), [collect(debug)]).consume(TraceBatch.of(scanTraces(bytes)));
    expect(audit).toEqual([]);
    expect(debug[0]!.index.bytes).toBe(bytes);
  });

  it("forwards a debug span beside an audit span that is malformed", async () => {
    const broken = Buffer.concat([encodeSpan(span("a", true)), Buffer.from([0x0a, 0x02, 0x01, 0x02])]);
    const bytes = frameSpans({}, { name: "scope" }, [broken, encodeSpan(span("b", false))]);
    const debug: Uint8Array[] = [];
    const consumer: Consumer = { consume: async (batch) => (debug.push(batch.bytes.slice()), []) };
    const rejections = await router(collect([]), [consumer]).consume(TraceBatch.of(scanTraces(bytes)));
    expect(rejections).toMatchObject([{ spans: 1 }]);
    expect(debug.flatMap((one) => names(decodeTraces(one)))).toEqual(["b"]);
  });

  it("waits for every audit pipeline when one refuses: the request's memory is used again then", async () => {
    let finished = false;
    const slow: Consumer = {
      consume: async () => {
        await new Promise((resolve) => setTimeout(resolve, 20));
        finished = true;
        return [];
      },
    };
    const refusing: Consumer = { consume: () => Promise.reject(new Error("log full")) };
    const both = new AuditRouter(
      { audit: ["traces/a", "traces/b"], debug: [] },
      new Map([
        ["traces/a", refusing],
        ["traces/b", slow],
      ]),
      testContext("audit_router"),
    );
    await expect(both.consume(TraceBatch.of(scanTraces(request(span("a", true)))))).rejects.toThrow("log full");
    expect(finished).toBe(true);
  });

  it("neither delays nor fails the audit side for the debug side", async () => {
    const failing: Consumer = { consume: () => Promise.reject(new Error("no room")) };
    await expect(
      router(collect([]), [failing]).consume(TraceBatch.of(scanTraces(request(span("a", true), span("b", false))))),
    ).resolves.toEqual([]);
  });

  it("forwards nothing when the audit side refuses: the client sends all of it again", async () => {
    const debug: TraceBatch[] = [];
    const refusing: Consumer = { consume: () => Promise.reject(new Error("log full")) };
    await expect(
      router(refusing, [collect(debug)]).consume(TraceBatch.of(scanTraces(request(span("a", true), span("b", false))))),
    ).rejects.toThrow("log full");
    expect(debug).toEqual([]);
  });
});
