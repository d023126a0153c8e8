// `npm run fuzz:attacks -- [--only name] [--workers N] [--tls] [--rounds N]`: what a client does that wants to bring the collector down,
// one thing after the other, while a good client wants its requests acknowledged.
import { parseArgs } from "node:util";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { makeCertificate } from "../support/certificate.ts";
import { helpOf, tempDir } from "../support/index.ts";
import { Attacker, type Attack, type Victim } from "./attack.ts";
import { CONNECTION_ATTACKS } from "./attacks-connections.ts";
import { HTTP_ATTACKS } from "./attacks-http.ts";
import { HTTP2_ATTACKS } from "./attacks-http2.ts";
import { Random } from "../faults/random.ts";
import { DebugBackend } from "./backend.ts";
import { Canaries } from "./canary.ts";
import { GoodClient, type Seen } from "./good-client.ts";
import { encode } from "./tree.ts";
import { Target, type Holdings } from "./target.ts";
import { validRequest } from "./valid.ts";

export const ATTACKS: readonly Attack[] = [...HTTP_ATTACKS, ...HTTP2_ATTACKS, ...CONNECTION_ATTACKS];

interface AttackRun {
  readonly attacks: readonly Attack[];
  readonly workers: number;
  readonly tls: boolean;
  /** How often all of it is done; memory may not grow from one round to the next. */
  readonly rounds: number;
  /** Milliseconds between the attacks of a round and a look at what stayed. Default 15 s; 0: nobody looks. */
  readonly restMs?: number;
  readonly tell: (line: string) => void;
}

/** Connections that were refused, or said nothing, are closed within this time. */
const REST_MS = 15_000;
/** What malloc and V8 took once they keep, and use again: a round more may not need much more of it. */
const GROWTH = 1.25;

/** Gives what is wrong; nothing is what a run is for. */
export async function runAttacks(run: AttackRun): Promise<string[]> {
  const { workers, tls, tell } = run;
  const directory = tempDir("attacks");
  const canaries = new Canaries(1);
  const backend = await DebugBackend.start(canaries, () => undefined);
  const certificate = makeCertificate();
  const files = { cert_file: join(directory, "server.crt"), key_file: join(directory, "server.key") };
  writeFileSync(files.cert_file, certificate.cert);
  writeFileSync(files.key_file, certificate.key);
  const protocol = tls ? `, tls: ${JSON.stringify(files)}` : "";
  await using target = await Target.start({ directory, workers, debugUrl: backend.url, protocol });
  const ca = tls ? certificate.cert : undefined;
  const { otlpHttp: httpUrl, otlpGrpc: grpcUrl, health, metrics } = target.collector.endpoints;
  const victim: Victim = {
    httpPort: port(httpUrl),
    grpcPort: port(grpcUrl!),
    healthPort: port(health!),
    metricsPort: port(metrics!),
    ca,
  };
  let n = 0;
  const body = (): Buffer => encode(validRequest({ random: new Random("good", n), canaries, n: n++ }));
  const good = new GoodClient({ httpUrl, grpcUrl: grpcUrl!, ca, body });
  const problems: string[] = [];
  try {
    tell(line("nothing", await good.during(sleep(1_000)), target));
    const holdings = [target.holdings];
    for (let round = 0; round < run.rounds; round++) {
      problems.push(...(await runRound(run, victim, good, target)));
      holdings.push(target.holdings);
    }
    if (run.restMs !== 0) problems.push(...kept(holdings));
    problems.push(...target.complaints);
    good.close();
    await target.stop();
  } finally {
    good.close();
    await backend.close();
  }
  return problems;
}

async function runRound(
  { attacks, restMs = REST_MS, tell }: AttackRun,
  victim: Victim,
  good: GoodClient,
  target: Target,
): Promise<string[]> {
  const problems: string[] = [];
  for (const attack of attacks) {
    const attacker = new Attacker(victim);
    const found: string[] = [];
    const seen = await good.during(attack.run(attacker).then((wrong) => found.push(...wrong)));
    tell(line(attack.name, seen, target));
    attacker.end();
    problems.push(...[...found, ...seen.failures].map((problem) => `${attack.name}: ${problem}`));
  }
  const after = await good.during(sleep(restMs));
  tell(line("afterwards", after, target));
  return [...problems, ...after.failures];
}

function port(url: string): number {
  return Number(new URL(url).port);
}

/** @param holdings at the start and after each round */
function kept([fresh, first, ...later]: readonly Holdings[]): string[] {
  const problems: string[] = [];
  for (const { rssMiB, sockets } of later) {
    if (rssMiB > first!.rssMiB * GROWTH)
      problems.push(`${rssMiB} MiB after a later round, ${first!.rssMiB} MiB after the first`);
    if (sockets > fresh!.sockets + 8) problems.push(`${sockets} sockets afterwards, ${fresh!.sockets} before`);
  }
  return problems;
}

function line(name: string, { acknowledged, retried, slowestMs, failures }: Seen, { holdings }: Target): string {
  const { rssMiB, sockets } = holdings;
  const trouble = failures.length === 0 ? "" : `, ${failures.length} FAILED`;
  return (
    `${name.padEnd(46)} ${String(acknowledged).padStart(5)} acknowledged, slowest ${slowestMs.toFixed(0).padStart(5)} ms, ` +
    `${retried} retried${trouble}; ${rssMiB} MiB, ${sockets} sockets`
  );
}

if (import.meta.main) {
  helpOf(import.meta.filename);
  const { values } = parseArgs({
    options: {
      only: { type: "string", default: "" },
      workers: { type: "string", default: "1" },
      tls: { type: "boolean", default: false },
      rounds: { type: "string", default: "2" },
    },
  });
  const attacks = ATTACKS.filter(({ name }) => name.includes(values.only));
  const problems = await runAttacks({
    attacks,
    workers: Number(values.workers),
    tls: values.tls,
    rounds: Number(values.rounds),
    tell: (text) => console.log(text),
  });
  for (const problem of problems.slice(0, 40)) console.log(problem);
  console.log(problems.length === 0 ? "nothing is wrong" : `${problems.length} problems`);
  process.exit(problems.length === 0 ? 0 : 1);
}
