import { decodeTraces, encodeTraces, scanTraces, type AttributeValue, type SpanData } from "@otel-audit/otlp";
import { describe, expect, it } from "vitest";
import { Classifier } from "./classifier.ts";
import type { Sender } from "./derive.ts";
import { SharedNames } from "./shared-names.ts";

const CLIENT = 3;
let nextId = 1;

function span(attributes: Record<string, AttributeValue>, more: Partial<SpanData> = {}): SpanData {
  return {
    traceId: "0af7651916cd43dd8448eb211c80319c",
    spanId: (nextId++).toString(16).padStart(16, "0"),
    name: "op",
    kind: CLIENT,
    startTimeUnixNano: 5n,
    endTimeUnixNano: 9n,
    attributes,
    ...more,
  };
}

function request(service: string, ...spans: SpanData[]): Uint8Array {
  return encodeTraces({
    resourceSpans: [
      {
        resource: { attributes: { "service.name": service } },
        scopeSpans: [{ scope: { name: "foreign", version: "1" }, spans }],
      },
    ],
  });
}

const memory = (): SharedArrayBuffer => new SharedArrayBuffer(SharedNames.byteLength);
const classifierOf = (services: string[], instrumented = memory()): Classifier =>
  new Classifier(services, new SharedNames(instrumented));
const anybody = (principal = ""): Sender => ({ principal, mayName: () => true });

async function classified(classifier: Classifier, bytes: Uint8Array, sender = anybody()): Promise<SpanData[]> {
  const copy = await classifier.classify(scanTraces(bytes), sender);
  return copy === undefined
    ? []
    : decodeTraces(copy).resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => [...spans]));
}

const tool = (more = {}): SpanData => span({ "gen_ai.tool.name": "t", ...more });

describe("Classifier", async () => {
  it.each<[string, SpanData, Record<string, string>]>([
    [
      "a file by a relative path, which is not relative to the collector",
      span({ "file.path": "notes.txt" }, { name: "fs readFile", kind: 1 }),
      { "audit.event.name": "file.read", "audit.target.id": "file:notes.txt" },
    ],
    [
      "a tool whose name is a list",
      span({ "gen_ai.tool.name": ["a", "b"] }, { kind: 1 }),
      { "audit.target.id": `tool:${encodeURIComponent('["a","b"]')}` },
    ],
    [
      "a tool call",
      span({ "gen_ai.tool.name": "read file", "gen_ai.agent.id": "planner" }, { kind: 1 }),
      {
        "audit.event.name": "tool.call",
        "audit.action": "EXECUTE",
        "audit.target.id": "tool:read%20file",
        "audit.actor.id": "planner",
        "audit.actor.type": "agent",
      },
    ],
    [
      "an HTTP request, without query and credentials",
      span({ "http.request.method": "POST", "url.full": "https://me:secret@api.example:443/v1/x?token=secret#f" }),
      {
        "audit.event.name": "http.request",
        "audit.action": "WRITE",
        "audit.target.id": "https://api.example/v1/x",
        "audit.actor.id": "service:shop",
      },
    ],
    [
      "an HTTP request that failed",
      span(
        { "http.request.method": "DELETE", "url.full": "http://h:8080/a", "error.type": "500" },
        { status: { code: 2 } },
      ),
      { "audit.action": "DELETE", "audit.target.id": "http://h:8080/a", "audit.outcome": "failure" },
    ],
    [
      "a database statement",
      span({
        "db.system.name": "postgresql",
        "db.namespace": "app",
        "db.collection.name": "orders",
        "db.operation.name": "SELECT",
        "server.address": "DB",
        "server.port": 5432,
      }),
      {
        "audit.event.name": "db.statement",
        "audit.action": "READ",
        "audit.target.type": "database.table",
        "audit.target.id": "postgresql://db/app/public.orders",
      },
    ],
    [
      "a database statement that names no operation",
      span({ "db.system.name": "mysql", "server.address": "::1" }),
      { "audit.action": "EXECUTE", "audit.target.type": "database", "audit.target.id": "mysql://[::1]" },
    ],
    [
      "a file",
      span({ "file.path": "/srv/a b" }, { name: "fs unlink", kind: 1 }),
      { "audit.event.name": "file.delete", "audit.action": "DELETE", "audit.target.id": "file:///srv/a%20b" },
    ],
  ])("derives a record from %s", async (_name, original, expected) => {
    const [record, ...rest] = await classified(classifierOf(["shop"]), request("shop", original));
    expect(rest).toEqual([]);
    expect(record!.attributes).toMatchObject({ ...expected, "audit.record.origin": "classified" });
    // Ids and times are its own.
    expect(record).toMatchObject({
      traceId: original.traceId,
      spanId: original.spanId,
      startTimeUnixNano: 5n,
      endTimeUnixNano: 9n,
    });
  });

  it("keeps no secret of the original", async () => {
    const secrets = {
      "http.request.method": "GET",
      "url.full": "https://bob:hunter2@api.example/v1?api_key=hunter2",
      "url.query": "hunter2",
      "http.request.header.authorization": ["hunter2"],
      "db.query.text": "SELECT 'hunter2'",
      "gen_ai.input.messages": "hunter2",
    };
    const original = span(secrets, {
      events: [{ name: "exception", timeUnixNano: 6n, attributes: { "exception.message": "hunter2" } }],
      status: { code: 2, message: "hunter2" },
    });
    const bytes = encodeTraces({
      resourceSpans: [
        {
          resource: { attributes: { "service.name": "shop", "process.command_line": "agent --token hunter2" } },
          scopeSpans: [{ scope: { name: "foreign" }, spans: [original] }],
        },
      ],
    });
    const copy = (await classifierOf(["*"]).classify(scanTraces(bytes), anybody()))!;
    expect(Buffer.from(copy).includes("https://api.example/v1")).toBe(true);
    expect(Buffer.from(copy).includes("hunter2")).toBe(false);
  });

  it("leaves out other services, server spans, spans without meaning and audit spans", async () => {
    const http = { "http.request.method": "GET", "url.full": "http://h/" };
    expect(await classified(classifierOf(["shop"]), request("other", span(http)))).toEqual([]);
    expect(
      await classified(
        classifierOf(["shop"]),
        request("shop", span(http, { kind: 2 }), span({ a: 1 }), span({ ...http, "audit.action": "READ" })),
      ),
    ).toEqual([]);
    expect(await classified(classifierOf(["*"]), request("other", span(http)))).toHaveLength(1);
  });

  it("cannot be told by a foreign span who acted or that it was an effect", async () => {
    const forged = span({
      "http.request.method": "GET",
      "url.full": "http://h/",
      "audit.record.origin": "effect",
      "audit.target.id": "http://other/",
    });
    const [record] = await classified(classifierOf(["*"]), request("shop", forged));
    expect(record!.attributes).toMatchObject({ "audit.record.origin": "classified", "audit.target.id": "http://h/" });
  });

  it("is off for a service of which the same sender had effects stored", async () => {
    const workers = memory();
    const classifier = classifierOf(["*"], workers);
    const http = span({ "http.request.method": "GET", "url.full": "http://h/" });
    const effect = span({ "audit.action": "READ", "audit.record.origin": "effect" });
    expect(await classified(classifier, request("shop", effect, http), anybody("a"))).toHaveLength(1);
    await classifier.learn(scanTraces(request("shop", http, effect)), anybody("a"));
    await classifier.learn(scanTraces(request("till", http, span({ "audit.action": "READ" }))), anybody("a"));
    expect(await classified(classifier, request("shop", http), anybody("a"))).toEqual([]);
    expect(await classified(classifierOf(["*"], workers), request("shop", http), anybody("a"))).toEqual([]);
    expect(await classified(classifier, request("till", http), anybody("a"))).toHaveLength(1);
    expect(await classified(classifier, request("shop", http), anybody("b"))).toHaveLength(1);
    expect(await classified(classifier, request("shop", http), anybody())).toHaveLength(1);
  });

  it("names the agent, or the service of a span that names none, as far as its sender may", async () => {
    const bytes = request("shop", tool({ "gen_ai.agent.id": "planner" }), tool({ "gen_ai.agent.id": "other" }), tool());
    const who = async (names: string[]): Promise<unknown[]> => {
      const sender: Sender = { principal: "p", mayName: (id, type) => names.includes(`${type} ${id}`) };
      const records = await classified(classifierOf(["*"]), bytes, sender);
      return records.map(({ attributes }) => attributes?.["audit.actor.id"]);
    };
    expect(await who(["agent planner", "service service:shop"])).toEqual(["planner", undefined, "service:shop"]);
    expect(await who([])).toEqual([undefined, undefined, undefined]);
  });

  it("lets others have a turn while it reads a request of many spans", async () => {
    const classifier = classifierOf(["*"]);
    const index = scanTraces(request("shop", ...Array.from({ length: 20_000 }, () => tool())));
    const done: string[] = [];
    const other = async (): Promise<unknown> => new Promise(setImmediate).then(() => done.push("other"));
    const work = async (name: string, promise: Promise<unknown>): Promise<unknown> =>
      promise.then(() => done.push(name));
    await Promise.all([work("classify", classifier.classify(index, anybody())), other()]);
    const records = scanTraces((await classifier.classify(index, anybody()))!);
    await Promise.all([work("learn", classifier.learn(records, anybody())), other()]);
    expect(done).toEqual(["other", "classify", "other", "learn"]);
    expect(records.count).toBe(20_000);
  });
});
