// What our own work needs of the runtime, taken before an application can replace it: fake timers and clocks are for what
// is tested with them, not for its records.

const { setTimeout, setInterval, clearTimeout } = globalThis;
export { clearTimeout, setInterval, setTimeout };

/** Milliseconds since 1970, by the system's clock. */
export const wallMs: () => number = Date.now;

/** Milliseconds since the process started; never goes back. */
export const monotonicMs: () => number = performance.now.bind(performance);
