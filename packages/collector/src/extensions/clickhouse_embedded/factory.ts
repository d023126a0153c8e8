import type { ExtensionFactory } from "../../component.ts";
import { clickhouseEmbeddedConfig, type ClickhouseEmbeddedConfig } from "./config.ts";
import { EngineConnection } from "./connection.ts";
import { ClickhouseEmbedded } from "./engine.ts";

export const clickhouseEmbeddedFactory: ExtensionFactory<ClickhouseEmbeddedConfig> = {
  kind: "extension",
  type: "clickhouse_embedded",
  alone: "a data directory has one database; name the same extension in all exporters",
  schema: clickhouseEmbeddedConfig,
  listens: ({ endpoint }) => [{ setting: ["endpoint"], address: endpoint }],
  supervise: (config, context) => new ClickhouseEmbedded(config, context),
  create: (_, context) => new EngineConnection(context),
};
