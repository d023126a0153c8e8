// Agents that write files, one after the other, until each has written EACH; the process says so, and with WAIT it then hangs
// until it is killed. With HOLD none of them gets beyond three quarters before stdin ends, however fast the machine is.
import { withAgent } from "@otel-audit/instrumentation-node";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const { AGENTS = "", DIR = "", EACH = "0", PAUSE_MS = "0", HOLD, WAIT } = process.env;
const each = Number(EACH);
const released = HOLD === "1" ? once(process.stdin.resume(), "end") : Promise.resolve();

async function work(agent: string): Promise<void> {
  for (let i = 0; i < each; i++) {
    await writeFile(join(DIR, `${agent}-${i}`), "");
    if (i % 25 === 24) await sleep(Number(PAUSE_MS));
    if (i === Math.floor(each / 4)) console.log(`${agent}: a quarter`);
    if (i === Math.floor(each / 2)) console.log(`${agent}: half`);
    if (i === Math.floor((each * 3) / 4)) await released;
  }
}

const agents = AGENTS.split(",").filter(Boolean);
await Promise.all(agents.map((agent) => withAgent({ id: agent }, () => work(agent))));
console.log("all written");
if (WAIT === "1") Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
