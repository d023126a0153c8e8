import { setTimeout as sleep } from "node:timers/promises";
import type { Attack, Attacker } from "./attack.ts";
import { frame, PREFACE, SETTINGS } from "./frames.ts";

const CONNECTIONS = 10_000;
/** Opened at one time: a backlog that is full is not what is tried here. */
const AT_ONCE = 200;
const HOLD_MS = 1_000;

/** As many connections as this process may have, held for a moment. */
async function hold(attacker: Attacker, port: number, hello: Buffer): Promise<string[]> {
  for (let opened = 0; opened < CONNECTIONS; opened += AT_ONCE) {
    const sockets = await Promise.all(Array.from({ length: AT_ONCE }, () => attacker.openBare(port)));
    for (const socket of sockets) if (socket.writable) socket.write(hello);
    await sleep(0);
  }
  await sleep(HOLD_MS);
  return [];
}

export const CONNECTION_ATTACKS: readonly Attack[] = [
  {
    name: "ten thousand connections that say nothing",
    run: (attacker) => hold(attacker, attacker.victim.httpPort, Buffer.alloc(0)),
  },
  {
    name: "ten thousand connections of HTTP/2",
    run: (attacker) => hold(attacker, attacker.victim.grpcPort, Buffer.concat([PREFACE, frame(SETTINGS, 0, 0)])),
  },
];
