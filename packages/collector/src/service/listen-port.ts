import type { CreateContext } from "../component.ts";
import { offsetPort, type Address } from "../config/address.ts";

/**
 * The port of a listener that every worker has. Where the configured one is 0, worker 0 (which starts first) takes a free
 * one and the others listen on that.
 */
export class ListenPort {
  readonly #shared: Int32Array;
  readonly #address: Address;
  /** Every worker listens on the same address; see `SO_REUSEPORT` in socket(7). */
  readonly reusePort: boolean;
  /** No other worker listens yet. */
  readonly first: boolean;

  /** @param name of the listener within its component, as its setting is called */
  constructor(context: CreateContext, name: string, address: Address) {
    const what = `receivers::${context.id}::protocols::${name}::endpoint`;
    this.#shared = new Int32Array(context.shared(`port/${name}`, 4));
    this.#address = offsetPort(address, context.portOffset, what);
    this.reusePort = context.worker.count > 1;
    this.first = context.worker.index === 0;
  }

  /** Where to listen. */
  get address(): Address {
    return { host: this.#address.host, port: this.#address.port || Atomics.load(this.#shared, 0) };
  }

  /** The port that it listens on now. */
  assigned(port: number): void {
    Atomics.store(this.#shared, 0, port);
  }
}
