// For where Node has only `--require`: threads whose code is a text. Nothing here takes turns of the event loop.
import { prepare, start } from "./start.ts";

// Drivers that need more than a synchronous start are complete when this is done.
void prepare();
start();
