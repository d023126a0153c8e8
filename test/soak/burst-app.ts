// AGENTS agents that all act at once, EACH actions each: half of them files, half requests. Everything that an agent touches
// has the agent's name in it.
import { flush, withAgent } from "@otel-audit/instrumentation-node";
import fs from "node:fs";
import http from "node:http";
import { join } from "node:path";

const { API, DIR } = process.env;
if (API === undefined || DIR === undefined) throw new Error("API and DIR are required");
const agents = Number(process.env["AGENTS"]);
const each = Number(process.env["EACH"]);
/** Of each agent at the same time. */
const AT_ONCE = 8;

const keepAlive = new http.Agent({ keepAlive: true, maxSockets: 64 });
const files = DIR;

const ways: readonly ((name: string) => unknown)[] = [
  (name) => fs.writeFileSync(join(files, name), ""),
  (name) => fs.promises.writeFile(join(files, name), ""),
  (name) => get(`${API}/${name}`),
  (name) => get(`${API}/${name}`),
];

function get(url: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = http.get(url, { agent: keepAlive }, (response) => response.resume().on("end", resolve));
    request.on("error", reject);
  });
}

async function act(agent: string): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < each) {
      const i = next++;
      await ways[i % ways.length]?.(`${agent}_${i}`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

const before = process.memoryUsage.rss();
const started = performance.now();
await Promise.all(Array.from({ length: agents }, (_, i) => withAgent({ id: `agent:a${i}` }, () => act(`a${i}`))));
const actedMs = performance.now() - started;
keepAlive.destroy();
const sent = await flush(300_000);
process.stdout.write(`${JSON.stringify({ before, most: process.resourceUsage().maxRSS * 1024, actedMs, sent })}\n`);
