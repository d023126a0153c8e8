import type { X509Certificate } from "node:crypto";
import { TLSSocket } from "node:tls";
import type { Socket } from "node:net";
import { isAuthenticator, type Authenticator, type Principal } from "../../auth.ts";
import type { CreateContext } from "../../component.ts";
import { isLoopback, isLoopbackHostHeader, type Address, type UnixAddress } from "../../config/address.ts";
import { configError } from "../../errors.ts";
import { RequestError } from "./request-error.ts";

/** What of a protocol's configuration says who may speak. */
interface Doors {
  readonly endpoint: Address | UnixAddress;
  readonly auth?: { readonly authenticator: string } | undefined;
  readonly tls?: { readonly client_ca_file?: string | undefined } | undefined;
}

/** What a request shows of its sender. */
interface Showing {
  readonly socket: Socket | undefined;
  /** `Host`, or `:authority`. */
  readonly host: string | undefined;
  /** Names and values in turn, as they came. */
  readonly rawHeaders: readonly string[];
}

/** Looks at who sends a request, before its body is read. */
export class Doorkeeper {
  readonly #authenticator: Authenticator | undefined;
  /** Nobody is asked for credentials, and every browser on this machine can connect. */
  readonly #checksHost: boolean;
  /** Taken apart once a connection, not once a request. */
  readonly #certificates = new WeakMap<Socket, X509Certificate>();

  /** @param path of the protocol in the configuration */
  constructor(path: readonly string[], { auth, tls, endpoint }: Doors, context: CreateContext) {
    this.#checksHost = auth === undefined && tls?.client_ca_file === undefined && !("path" in endpoint);
    if (auth === undefined) return;
    if (tls === undefined && !("path" in endpoint) && !isLoopback(endpoint.host))
      context.log.warn({ listener: path.join("::") }, "tokens arrive here without TLS: who reads the network has them");
    const extension = context.extension(auth.authenticator);
    const where = [...path, "auth", "authenticator"];
    if (extension === undefined)
      throw configError(where, `references extension "${auth.authenticator}" which is not in service::extensions`);
    if (!isAuthenticator(extension)) throw configError(where, `extension "${auth.authenticator}" is no authenticator`);
    this.#authenticator = extension;
  }

  /** Throws RequestError or AuthError for who may not send anything; undefined where nobody is asked. */
  admit({ socket, host, rawHeaders }: Showing): Principal | undefined {
    if (this.#checksHost && !isLoopbackHostHeader(host))
      throw new RequestError("forbidden", "the Host header does not name this machine");
    return this.#authenticator?.authenticate({
      authorization: authorization(rawHeaders),
      certificate: this.#certificate(socket),
    });
  }

  #certificate(socket: Socket | undefined): X509Certificate | undefined {
    if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined;
    let certificate = this.#certificates.get(socket);
    if (certificate === undefined) {
      certificate = socket.getPeerX509Certificate();
      if (certificate) this.#certificates.set(socket, certificate);
    }
    return certificate;
  }
}

/** Node keeps the first of two; who sends two identities has none. */
function authorization(rawHeaders: readonly string[]): string | undefined {
  let found: string | undefined;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (rawHeaders[i]!.toLowerCase() !== "authorization") continue;
    found = found === undefined ? rawHeaders[i + 1]! : `${found}, ${rawHeaders[i + 1]!}`;
  }
  return found;
}
