import type { ExtensionFactory } from "../../component.ts";
import { clickhouseEmbeddedConfig, type ClickhouseEmbeddedConfig } from "./config.ts";
import { EngineConnection } from "./connection.ts";
import { ClickhouseEmbedded } from "./engine.ts";

export const clickhouseEmbeddedFactory: ExtensionFactory<ClickhouseEmbeddedConfig> = {
  kind: "extension",
  type: "clickhouse_embedded",
  schema: clickhouseEmbeddedConfig,
  supervise: (config, context) => new ClickhouseEmbedded(config, context),
  create: (_, context) => new EngineConnection(context),
};
