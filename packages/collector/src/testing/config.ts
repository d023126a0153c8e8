import { parseConfig } from "../config/config.ts";
import { CollectorError } from "../errors.ts";

/** Of what a configuration has to have. */
export const MINIMAL = `
receivers:
  otlp: { protocols: { http: {} } }
exporters:
  otlphttp: { endpoint: "http://127.0.0.1:4319" }
  clickhouse_audit: { endpoint: "http://127.0.0.1:4318" }
service:
  pipelines:
    traces: { receivers: [otlp], exporters: [otlphttp, clickhouse_audit] }
`;

/** Why a configuration is refused. */
export function messageOf(text: string, env: Record<string, string> = {}): string {
  try {
    parseConfig(text, { file: "config.yaml", env });
  } catch (error) {
    if (error instanceof CollectorError && error.code === "INVALID_CONFIG") return error.message;
    throw error;
  }
  throw new Error("the configuration was accepted");
}
