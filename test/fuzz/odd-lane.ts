import { connect } from "node:net";
import type { HttpAnswer } from "./answers.ts";
import { parseAnswer } from "./http-lane.ts";

/** Milliseconds after which a connection that says nothing is one that hangs. */
const PATIENCE_MS = 20_000;
/** Milliseconds that the collector gets for an answer before it is told that no more comes. */
const QUIET_MS = 500;

interface OddExchange {
  readonly answers: readonly HttpAnswer[];
  /** Bytes after the last answer that are none. */
  readonly rest: Buffer;
  readonly closed: boolean;
}

/**
 * Writes bytes on a connection of their own, and gives all that came back.
 *
 * @param complete whether an answer has to come; otherwise the collector may wait for more and is told that there is none
 */
export function exchange(port: number, bytes: Buffer, complete: boolean): Promise<OddExchange> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    const socket = connect(port, "127.0.0.1");
    let closed = true;
    const late = setTimeout(() => {
      closed = false;
      socket.destroy();
    }, PATIENCE_MS);
    socket.on("data", (chunk: Buffer) => chunks.push(chunk)).on("error", () => {});
    const quiet = complete ? undefined : setTimeout(() => socket.end(), QUIET_MS);
    socket.once("close", () => {
      clearTimeout(late);
      clearTimeout(quiet);
      const answers: HttpAnswer[] = [];
      let rest: Buffer = Buffer.concat(chunks);
      for (let next = parseAnswer(rest); next !== undefined; next = parseAnswer(rest)) {
        answers.push(next.answer);
        rest = rest.subarray(next.end);
      }
      resolve({ answers, rest, closed });
    });
    socket.write(bytes);
  });
}
