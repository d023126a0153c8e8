import type { CreateContext, Next, Receiver, ReceiverEndpoints } from "../../component.ts";
import type { Address, UnixAddress } from "../../config/address.ts";
import { ListenPort } from "../../service/listen-port.ts";
import type { Place } from "../../service/listener.ts";
import type { OtlpConfig } from "./config.ts";
import { OtlpGrpc } from "./grpc.ts";
import { OtlpHttp } from "./http.ts";
import { Intake } from "./intake.ts";

/** OTLP over every protocol that is configured; all of them hand their requests to one intake. */
export class OtlpReceiver implements Receiver {
  readonly #intake: Intake;
  readonly #http: OtlpHttp | undefined;
  readonly #grpc: OtlpGrpc | undefined;

  constructor(
    { protocols: { http, grpc }, max_in_flight_bytes: maxInFlight }: OtlpConfig,
    next: Next,
    context: CreateContext,
  ) {
    const intake = new Intake(maxInFlight, next, context);
    this.#intake = intake;
    const listens = (endpoint: Address | UnixAddress): boolean => !("path" in endpoint) || context.worker.index === 0;
    if (http && listens(http.endpoint))
      this.#http = new OtlpHttp(http, place("http", http.endpoint, context), intake, context);
    if (grpc && listens(grpc.endpoint))
      this.#grpc = new OtlpGrpc(grpc, place("grpc", grpc.endpoint, context), intake, context);
  }

  get endpoints(): ReceiverEndpoints {
    const http = this.#http?.endpoint;
    const grpc = this.#grpc?.endpoint;
    return { ...(http !== undefined && { otlpHttp: http }), ...(grpc !== undefined && { otlpGrpc: grpc }) };
  }

  async start(): Promise<void> {
    await this.#grpc?.start();
    await this.#http?.start();
  }

  async shutdown(): Promise<void> {
    this.#intake.stop();
    await Promise.all([this.#grpc?.shutdown(), this.#http?.shutdown()]);
  }
}

/** A port is shared by all workers; a socket in the file system is worker 0's. */
function place(name: string, endpoint: Address | UnixAddress, context: CreateContext): Place {
  return "path" in endpoint ? { address: endpoint } : new ListenPort(context, name, endpoint);
}
