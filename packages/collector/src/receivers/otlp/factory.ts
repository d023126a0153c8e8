import { SIGNALS, type ReceiverFactory } from "../../component.ts";
import { otlpConfig, type OtlpConfig } from "./config.ts";
import { OtlpReceiver } from "./receiver.ts";

export const otlpFactory: ReceiverFactory<OtlpConfig> = {
  kind: "receiver",
  type: "otlp",
  signals: SIGNALS,
  schema: otlpConfig,
  servers: ({ protocols: { grpc, http } }) => [grpc, http].filter(Boolean).length,
  create: (config, next, context) => new OtlpReceiver(config, next, context),
};
