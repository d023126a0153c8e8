import type { Driver } from "../driver.ts";
import { fsDriver } from "./fs/driver.ts";

/** Every driver, in the order of the start line. */
export const drivers: readonly Driver[] = [fsDriver];
