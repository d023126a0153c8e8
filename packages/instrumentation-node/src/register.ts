// node --import @otel-audit/instrumentation-node/register app.js
// Nothing here takes turns of the event loop: `--require` works, too, where Node has nothing else (threads of code in a text).
import { start } from "./start.ts";

start();
