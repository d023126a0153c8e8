import type { Driver } from "../driver.ts";

/** Every driver, in the order of the start line. */
export const drivers: readonly Driver[] = [];
