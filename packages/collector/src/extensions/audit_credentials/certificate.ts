import type { X509Certificate } from "node:crypto";

/** The names of a certificate that can be an identity. */
export interface CertificateNames {
  /** The only URI, if it is a SPIFFE id; two URIs are none (SPIFFE X509-SVID, section 2). */
  readonly spiffeId: string | undefined;
  /** In lower case, without wildcards. */
  readonly dnsNames: readonly string[];
}

/** 2.5.29.17, subjectAltName. */
const SUBJECT_ALT_NAME = Buffer.from([0x55, 0x1d, 0x11]);
const Tag = { octets: 0x04, oid: 0x06, sequence: 0x30, extensions: 0xa3, dnsName: 0x82, uri: 0x86 } as const;

const SPIFFE_ID = /^spiffe:\/\/[a-z0-9._-]{1,255}(?:\/[A-Za-z0-9._-]+)+$/;
const DNS_NAME = /^(?=.{1,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/i;
const MAX_ID = 2048;

function isSpiffeId(text: string): boolean {
  return text.length <= MAX_ID && SPIFFE_ID.test(text) && !/\/\.\.?(?:\/|$)/.test(text);
}

/** A SPIFFE id, or the beginning of some with `/*` at its end. */
export function isSpiffePattern(text: string): boolean {
  if (!text.endsWith("/*")) return isSpiffeId(text);
  const prefix = text.slice(0, -2);
  return isSpiffeId(prefix) || /^spiffe:\/\/[a-z0-9._-]{1,255}$/.test(prefix);
}

export function isDnsName(text: string): boolean {
  return DNS_NAME.test(text);
}

/**
 * Reads the subject alternative names from the certificate's DER. Not from `subjectAltName`, which is a text that joins
 * the names with commas: a name with a comma in it looked like two there (CVE-2021-44532). Common names are not names.
 * What is not understood is no identity.
 */
export function certificateNames(certificate: X509Certificate): CertificateNames {
  const names: { tag: number; body: Buffer }[] = [];
  try {
    for (const extension of subjectAltNames(certificate.raw)) names.push(...elements(extension));
  } catch {
    return { spiffeId: undefined, dnsNames: [] };
  }
  const uris = names.filter(({ tag }) => tag === Tag.uri);
  const uri = uris.length === 1 ? text(uris[0]!.body) : "";
  return {
    spiffeId: isSpiffeId(uri) ? uri : undefined,
    dnsNames: names
      .filter(({ tag }) => tag === Tag.dnsName)
      .map(({ body }) => text(body))
      .filter(isDnsName)
      .map((name) => name.toLowerCase()),
  };
}

/** Contents of the GeneralNames of every subjectAltName; two such extensions are an error (RFC 5280, 4.2). */
function subjectAltNames(der: Buffer): Buffer[] {
  const [whole] = elements(der);
  const [toBeSigned] = elements(whole!.body);
  const extensions = elements(toBeSigned!.body).find(({ tag }) => tag === Tag.extensions);
  if (extensions === undefined) return [];
  const [list] = elements(extensions.body);
  const found: Buffer[] = [];
  for (const extension of elements(list!.body)) {
    const parts = elements(extension.body);
    if (parts[0]?.tag !== Tag.oid || !parts[0].body.equals(SUBJECT_ALT_NAME)) continue;
    const value = parts.at(-1)!;
    const [names, more] = elements(value.body);
    if (value.tag !== Tag.octets || names?.tag !== Tag.sequence || more !== undefined || found.length > 0) {
      throw new Error("not a subjectAltName");
    }
    found.push(names.body);
  }
  return found;
}

/** The DER values that stand one after the other in `bytes`. */
function elements(bytes: Buffer): { tag: number; body: Buffer }[] {
  const found: { tag: number; body: Buffer }[] = [];
  for (let at = 0; at < bytes.length;) {
    const tag = bytes[at]!;
    const first = bytes[at + 1];
    // No tag of several bytes, no length that is not given.
    if ((tag & 0x1f) === 0x1f || first === undefined || first === 0x80 || first > 0x84) throw new Error("not DER");
    const lengthBytes = first < 0x80 ? 0 : first - 0x80;
    const start = at + 2 + lengthBytes;
    if (start > bytes.length) throw new Error("not DER");
    const length = lengthBytes === 0 ? first : bytes.readUIntBE(at + 2, lengthBytes);
    if (start + length > bytes.length) throw new Error("not DER");
    found.push({ tag, body: bytes.subarray(start, start + length) });
    at = start + length;
  }
  return found;
}

/** IA5String; what is not ASCII matches no pattern of a name. */
function text(body: Buffer): string {
  return body.toString("latin1");
}
