// The database in a process of its own, as a server elsewhere would be: an embedded engine at a fixed port.
// `node engine.ts DIR PORT`; the line on stdout says where it is and how to write to it.
import { EmbeddedEngine } from "@otel-audit/exporter-clickhouse";

const [, , dataDir, port] = process.argv;
if (dataDir === undefined || port === undefined) throw new Error("usage: engine.ts DIR PORT");
const engine = await EmbeddedEngine.start({ dataDir, port: Number(port) });
const { username, password } = engine.writer;
process.stdout.write(`${JSON.stringify({ pid: engine.pid, username, password })}\n`);
engine.onExit(() => process.exit(1));
process.on("SIGTERM", () => void engine.stop().then(() => process.exit(0)));
