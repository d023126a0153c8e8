import { SIGNALS, type ReceiverFactory } from "../../component.ts";
import { otlpConfig, type OtlpConfig } from "./config.ts";
import { OtlpReceiver } from "./receiver.ts";

export const otlpFactory: ReceiverFactory<OtlpConfig> = {
  kind: "receiver",
  type: "otlp",
  signals: SIGNALS,
  schema: otlpConfig,
  listens: ({ protocols }) =>
    Object.entries(protocols).flatMap(([name, protocol]) =>
      protocol ? [{ setting: ["protocols", name, "endpoint"], address: protocol.endpoint }] : [],
    ),
  create: (config, next, context) => new OtlpReceiver(config, next, context),
};
