import { hash, type X509Certificate } from "node:crypto";
import { AuthError, type Peer } from "../../auth.ts";
import { certificateNames } from "./certificate.ts";
import type { Credential } from "./credential.ts";

/** Longest Authorization header that is looked at; a token of ours has 47 characters, a JWT some 1,000. */
const MAX_AUTHORIZATION = 8192;
/** RFC 6750: the scheme in any case, one token68. Two headers that were joined by a comma are not one. */
const BEARER = /^bearer +([A-Za-z0-9._~+/-]+=*)$/i;

/** The credentials of one moment, by what they are shown by. */
export class Directory {
  readonly #tokens = new Map<string, Credential>();
  readonly #spiffeIds = new Map<string, Credential>();
  readonly #dnsNames = new Map<string, Credential>();

  constructor(credentials: readonly Credential[]) {
    for (const credential of credentials) {
      for (const digest of credential.tokenHashes) this.#tokens.set(digest, credential);
      const { spiffe_id, dns_name } = credential.certificate ?? {};
      if (spiffe_id !== undefined) this.#spiffeIds.set(spiffe_id, credential);
      if (dns_name !== undefined) this.#dnsNames.set(dns_name, credential);
    }
  }

  /** Throws AuthError. */
  find({ authorization, certificate }: Peer): Credential {
    const byCertificate = certificate && this.#byCertificate(certificate);
    if (authorization !== undefined) {
      const byToken = this.#byToken(authorization);
      if (byCertificate !== undefined && byCertificate !== byToken) {
        const message = `the token belongs to "${byToken.id}" and the certificate to "${byCertificate.id}"`;
        throw new AuthError("forbidden", message);
      }
      return byToken;
    }
    if (byCertificate !== undefined) return byCertificate;
    const message = certificate
      ? "no credential has a name of this certificate"
      : "who are you? Send `Authorization: Bearer <token>`, or a client certificate where TLS asks for one";
    throw new AuthError("unauthenticated", message);
  }

  #byToken(authorization: string): Credential {
    const token = authorization.length <= MAX_AUTHORIZATION ? BEARER.exec(authorization)?.[1] : undefined;
    if (token === undefined) {
      throw new AuthError("unauthenticated", "the Authorization header is not `Bearer <token>`");
    }
    // The time that the look-up takes tells something of a hash, of which nobody can choose the beginning: nothing of a token.
    const credential = this.#tokens.get(hash("sha256", token, "hex"));
    if (credential === undefined) throw new AuthError("unauthenticated", "the token is not known");
    return credential;
  }

  #byCertificate(certificate: X509Certificate): Credential | undefined {
    const { spiffeId, dnsNames } = certificateNames(certificate);
    const found = new Set<Credential>();
    const bySpiffe = spiffeId === undefined ? undefined : this.#bySpiffeId(spiffeId);
    if (bySpiffe !== undefined) found.add(bySpiffe);
    for (const name of dnsNames) {
      const byName = this.#dnsNames.get(name);
      if (byName !== undefined) found.add(byName);
    }
    const [first, second] = found;
    if (second !== undefined) {
      const message = `the certificate's names belong to two credentials, "${first!.id}" and "${second.id}"`;
      throw new AuthError("forbidden", message);
    }
    return first;
  }

  /** The id itself before the longest `…/*` above it. */
  #bySpiffeId(id: string): Credential | undefined {
    const exact = this.#spiffeIds.get(id);
    if (exact !== undefined) return exact;
    for (let end = id.lastIndexOf("/"); end > "spiffe://".length; end = id.lastIndexOf("/", end - 1)) {
      const above = this.#spiffeIds.get(`${id.slice(0, end)}/*`);
      if (above !== undefined) return above;
    }
    return undefined;
  }
}
