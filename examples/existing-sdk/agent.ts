// An agent with spans of its own. `withAgent` says who acts; nothing else in it knows of the audit.
import { trace } from "@opentelemetry/api";
import { withAgent } from "@otel-audit/instrumentation-node";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

const { ORDERS_API = "http://127.0.0.1:8080", REPORTS = "reports" } = process.env;

await withAgent({ id: "agent:reports", onBehalfOf: "user:4711", workflow: { name: "daily-report", id: "today" } }, () =>
  trace.getTracer("reports").startActiveSpan("daily report", async (span) => {
    const response = await fetch(`${ORDERS_API}/orders`);
    await mkdir(REPORTS, { recursive: true });
    await writeFile(join(REPORTS, "today.json"), await response.text());
    span.end();
  }),
);
