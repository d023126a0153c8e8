import { expect, it } from "vitest";
import { SharedState } from "../../extensions/audit_credentials/shared-state.ts";
import { InFlight, type Reservation, type Sender } from "./in-flight.ts";

const LIMIT = 1_000;

/** Two workers, as they count together, and what each knows of a credential. */
function workers(): { traces: InFlight; logs: InFlight; sender: (id: string) => Sender }[] {
  const [held, debug] = [new Float64Array(2), new Float64Array(2)];
  const shared = new SharedArrayBuffer(SharedState.byteLength);
  return [0, 1].map((index) => {
    const state = new SharedState(shared);
    const traces = new InFlight(LIMIT, held, index);
    return {
      traces,
      logs: new InFlight(LIMIT / 2, debug, index, traces),
      sender: (id) => ({ id, hold: (bytes) => state.hold(state.slot(id), bytes) }),
    };
  });
}

/** Requests of 10 bytes until one is refused; gives how many bytes there was room for, and what gives them back. */
function fill(pools: readonly InFlight[], senders: readonly (Sender | undefined)[]): [number, () => void] {
  const taken: Reservation[] = [];
  for (let i = 0; ; i++) {
    const reservation = pools[i % pools.length]!.reserve(senders[i % senders.length]);
    const fits = reservation.grow(10);
    taken.push(reservation);
    if (!fits) return [i * 10, () => taken.forEach((one) => one.release())];
  }
}

it("one credential has no more under way than is left for others, over all workers", () => {
  const [a, b] = workers();
  const pools = [a!.traces, b!.traces];
  const [bad, free] = fill(pools, [a!.sender("bad"), b!.sender("bad")]);
  expect(bad).toBe(LIMIT / 2);
  const refused = a!.traces.reserve(b!.sender("bad"));
  expect(refused.grow(10)).toBe(false);
  expect(refused.refusal().message).toBe(
    '500 bytes of requests are under way, 500 of them of credential "bad", which gets no more than it leaves to others; the limit (max_in_flight_bytes) is 1000; send it again',
  );
  const [good, freeGood] = fill(pools, [a!.sender("good"), b!.sender("good")]);
  expect(good).toBe(LIMIT / 4);
  freeGood();
  free();
  expect(a!.traces.bytes).toBe(0);
  // Nothing is left over of what was refused.
  expect(fill(pools, [a!.sender("bad")])[0]).toBe(LIMIT / 2);
});

it("what was refused counts for nobody; without credentials the whole is for all", () => {
  const [a] = workers();
  const one = a!.traces.reserve(a!.sender("one"));
  expect([one.grow(LIMIT), one.grow(LIMIT / 2), one.grow(1)]).toEqual([false, true, false]);
  one.release();
  one.release();
  const [all, free] = fill([a!.traces], [undefined]);
  expect(all).toBe(LIMIT);
  expect(a!.traces.reserve().refusal().message).toBe(
    "1000 bytes of requests are under way; the limit (max_in_flight_bytes) is 1000; send it again",
  );
  free();
  expect(fill([a!.traces], [a!.sender("one")])[0]).toBe(LIMIT / 2);
});

/** What a request of so many bytes is told that come one and the rest. */
function kindOf(pool: InFlight, bytes: number, sender?: Sender): string {
  const one = pool.reserve(sender);
  const kind = one.grow(1) && one.grow(bytes - 1) ? "taken" : one.refusal().kind;
  one.release();
  return kind;
}

it("a request that has no room even when it is alone is refused for good, one that has to wait is not", () => {
  const [a] = workers();
  const [traces, logs, sender] = [a!.traces, a!.logs, a!.sender("one")];
  expect([kindOf(traces, LIMIT), kindOf(traces, LIMIT + 1)]).toEqual(["taken", "too_large"]);
  expect([kindOf(logs, LIMIT / 2), kindOf(logs, LIMIT / 2 + 1)]).toEqual(["taken", "too_large"]);
  expect([kindOf(traces, LIMIT / 2, sender), kindOf(traces, LIMIT / 2 + 1, sender)]).toEqual(["taken", "too_large"]);
  const other = traces.reserve();
  other.grow(1);
  expect([kindOf(traces, LIMIT), kindOf(traces, LIMIT / 2, sender)]).toEqual(["unavailable", "unavailable"]);
});

it("logs and metrics of a credential count, too", () => {
  const [a, b] = workers();
  const [logs] = fill([a!.logs, b!.logs], [a!.sender("bad"), b!.sender("bad")]);
  expect(logs).toBe(LIMIT / 4);
  expect(fill([a!.traces], [a!.sender("bad")])[0]).toBe(LIMIT / 4);
  expect(fill([b!.logs], [b!.sender("good")])[0]).toBeGreaterThan(0);
});
