// node --import @otel-audit/instrumentation-node/register app.js
import { configFromEnvironment } from "./config.ts";
import { prepare, start } from "./start.ts";

const config = configFromEnvironment();
if (!config.disabled) await prepare();
start(config);
