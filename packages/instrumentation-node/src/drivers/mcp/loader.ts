// Runs in Node's loader thread, before Node 22.15.
import type { LoadHook } from "node:module";

import { handOver } from "./source.ts";

export const load: LoadHook = async (url, context, nextLoad) => handOver(url, await nextLoad(url, context));
