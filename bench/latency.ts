// How long an acknowledgement takes at half of the load that a collector can take, beside the official collector: both sync
// (fdatasync, fsync) before they answer. 20% audit spans, 512 a request, plain HTTP. `--quick` is a short run.
import { parseArgs } from "node:util";
import { Setting, spansPerSecond } from "./collector/setting.ts";
import { findPeer, startOurs, type Environment, type Subject } from "./collector/subject.ts";

const { values: options } = parseArgs({ options: { quick: { type: "boolean", default: false } } });
const CAPACITY_SECONDS = options.quick ? 2 : 10;
const SECONDS = options.quick ? 5 : 30;

function percentile(sorted: readonly number[], share: number): string {
  const value = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
  return `${(value ?? Number.NaN).toFixed(1)} ms`;
}

async function measure(setting: Setting, start: (env: Environment) => Promise<Subject>): Promise<void> {
  const subject = await start(setting.env);
  try {
    const capacity = await setting.capacity(subject, CAPACITY_SECONDS);
    const { latencies, refused } = await setting.paced(subject, capacity / 2, SECONDS);
    const sorted = latencies.toSorted((a, b) => a - b);
    const [p50, p99, worst] = [percentile(sorted, 0.5), percentile(sorted, 0.99), percentile(sorted, 1)];
    process.stdout.write(
      `${subject.name.padEnd(18)} p50 ${p50}, p99 ${p99}, worst ${worst} of ${sorted.length} requests at ` +
        `${spansPerSecond(capacity / 2)}${refused > 0 ? `, ${refused} REFUSED` : ""}\n`,
    );
  } finally {
    await subject.stop();
  }
}

const setting = await Setting.start();
const peer = findPeer();
process.stdout.write(`peer: ${peer.description}\n`);
await measure(setting, startOurs);
await measure(setting, (env) => peer.start(env));
await setting.stop();
