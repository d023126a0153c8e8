import { monotonicMs, wallMs } from "./pristine.ts";

/** How far the monotonic clock may be from the system's before it is set again, in milliseconds. */
const TOLERANCE_MS = 20;
const CHECK_EVERY_MS = 1000;

let offsetMs = performance.timeOrigin;
let checkedAt = Number.NEGATIVE_INFINITY;

/**
 * Microseconds since 1970, finer than Date.now() and following it: a machine that slept or whose clock was set
 * would else stamp records with the time of a world that never was.
 */
export function nowMicros(): number {
  const monotonic = monotonicMs();
  if (monotonic - checkedAt > CHECK_EVERY_MS) {
    checkedAt = monotonic;
    const wall = wallMs();
    if (Math.abs(wall - (offsetMs + monotonic)) > TOLERANCE_MS) offsetMs = wall - monotonic;
  }
  return Math.floor((offsetMs + monotonic) * 1000);
}
