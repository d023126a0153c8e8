import { createClient } from "@clickhouse/client";
import type { ClickHouseClient } from "@clickhouse/client";
import { tempDir } from "../../../../test/support/index.ts";
import { EmbeddedEngine } from "../embedded/index.ts";
import type { EngineLimits } from "../embedded/index.ts";

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Buffer;
  readonly text: string;
}

/** Keeps the client's own log out of a test's output. */
export const QUIET = { log: { level: 127 } } as const;

/** A span with this trace id, as JSONEachRow wants it. */
export function traceRow(id: string): Record<string, unknown> {
  return { Timestamp: "2026-01-02 03:04:05.123456789", TraceId: id, SpanName: "a", SpanAttributes: { k: "v" } };
}

/** An embedded engine with one span (trace id `kept`) in it, and ways to talk to it over plain HTTP. */
export class TestEngine {
  readonly engine: EmbeddedEngine;
  readonly dataDir: string;
  readonly reader: ClickHouseClient;
  readonly writer: ClickHouseClient;

  private constructor(engine: EmbeddedEngine, dataDir: string) {
    this.engine = engine;
    this.dataDir = dataDir;
    this.reader = createClient({ url: engine.url, database: "otel_audit", ...QUIET });
    this.writer = createClient({ ...engine.writer, ...QUIET });
  }

  static async start(limits: Partial<EngineLimits>): Promise<TestEngine> {
    const dataDir = tempDir("engine");
    const engine = new TestEngine(await EmbeddedEngine.start({ dataDir, limits }), dataDir);
    await engine.writer.insert({ table: "otel_traces", values: [traceRow("kept")], format: "JSONEachRow" });
    return engine;
  }

  async stop(): Promise<void> {
    await this.reader.close();
    await this.writer.close();
    await this.engine.stop();
  }

  async send(path: string, init: RequestInit = {}): Promise<Answer> {
    const response = await fetch(`${this.engine.url}${path}`, init);
    const body = Buffer.from(await response.arrayBuffer());
    return { status: response.status, headers: response.headers, body, text: body.toString("utf8") };
  }

  /** A statement of a reader's, as the body. */
  ask(sql: string, search = ""): Promise<Answer> {
    return this.send(`/?${search}`, { method: "POST", body: sql });
  }

  writerHeaders(): Record<string, string> {
    return { "X-ClickHouse-User": this.engine.writer.username, "X-ClickHouse-Key": this.engine.writer.password };
  }

  /** An INSERT in the address with its data as the body. */
  insert(sql: string, body: string | Uint8Array, headers: Record<string, string> = {}): Promise<Answer> {
    return this.send(`/?query=${encodeURIComponent(sql)}`, {
      method: "POST",
      body: typeof body === "string" ? body : Uint8Array.from(body),
      headers: { ...this.writerHeaders(), ...headers },
    });
  }

  /** Rows of `otel_traces`. */
  async count(where: string): Promise<number> {
    return Number((await this.ask(`SELECT count() FROM otel_traces WHERE ${where}`)).text);
  }
}
