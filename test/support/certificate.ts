import { generateKeyPairSync, randomBytes, sign } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

export interface Certificate {
  /** PEM, for `key`. */
  readonly key: string;
  /** PEM, for `cert` of the server and `ca` of its clients. */
  readonly cert: string;
}

const ECDSA_WITH_SHA256 = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const COMMON_NAME = [0x55, 0x04, 0x03];
const BASIC_CONSTRAINTS = [0x55, 0x1d, 0x13];
const SUBJECT_ALT_NAME = [0x55, 0x1d, 0x11];

/** One name of a certificate by its tag (RFC 5280, GeneralName): 0x82 DNS, 0x86 URI, 0x87 address. */
export type AlternativeName = readonly [tag: number, value: string | readonly number[]];

const LOCALHOST: readonly AlternativeName[] = [
  [0x82, "localhost"],
  [0x87, [127, 0, 0, 1]],
];

/**
 * Makes a self-signed X.509 certificate (RFC 5280) for localhost and 127.0.0.1, valid from yesterday for a week. Made
 * anew each time, so that no key lies in the repository.
 *
 * @param names other names than localhost; each list is a subjectAltName extension of its own
 */
export function makeCertificate(...names: readonly (readonly AlternativeName[])[]): Certificate {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const algorithm = der(0x30, der(0x06, ECDSA_WITH_SHA256));
  // Of several in one file of authorities each has to be found by its name.
  const commonName = names.length === 0 ? "localhost" : `client ${randomBytes(4).toString("hex")}`;
  const name = der(0x30, der(0x31, der(0x30, der(0x06, COMMON_NAME), der(0x0c, Buffer.from(commonName)))));
  const day = 86_400_000;
  const validity = der(0x30, utcTime(Date.now() - day), utcTime(Date.now() + 6 * day));
  const isAuthority = der(0x30, der(0x01, [0xff]));
  const extensions = der(
    0x30,
    der(0x30, der(0x06, BASIC_CONSTRAINTS), der(0x01, [0xff]), der(0x04, isAuthority)),
    ...(names.length === 0 ? [LOCALHOST] : names).map(alternatives),
  );
  const toBeSigned = der(
    0x30,
    der(0xa0, der(0x02, [2])),
    der(0x02, [1]),
    algorithm,
    name,
    validity,
    name,
    publicKey.export({ type: "spki", format: "der" }),
    der(0xa3, extensions),
  );
  const signature = der(0x03, [0], sign("sha256", toBeSigned, privateKey));
  const base64 = der(0x30, toBeSigned, algorithm, signature).toString("base64");
  return {
    key: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
    cert: `-----BEGIN CERTIFICATE-----\n${base64.match(/.{1,64}/g)?.join("\n") ?? ""}\n-----END CERTIFICATE-----\n`,
  };
}

/** As files, in the words of a `tls` setting; those that are there are replaced. */
export function writeCertificate(
  dir: string,
  { cert, key }: Certificate,
  name = "client",
): { cert_file: string; key_file: string } {
  const paths = { cert_file: join(dir, `${name}.crt`), key_file: join(dir, `${name}.key`) };
  writeFileSync(paths.cert_file, cert);
  writeFileSync(paths.key_file, key);
  return paths;
}

function alternatives(names: readonly AlternativeName[]): Buffer {
  const list = names.map(([tag, value]) => der(tag, typeof value === "string" ? Buffer.from(value, "latin1") : value));
  return der(0x30, der(0x06, SUBJECT_ALT_NAME), der(0x04, der(0x30, ...list)));
}

/** One DER value: tag, length, contents. */
function der(tag: number, ...parts: readonly (Uint8Array | readonly number[])[]): Buffer {
  const body = Buffer.concat(parts.map((part) => Buffer.from(part)));
  const length = body.length;
  const head = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...head]), body]);
}

function utcTime(time: number): Buffer {
  const digits = new Date(time).toISOString().replaceAll(/[-:T]/g, "").slice(2, 14);
  return der(0x17, Buffer.from(`${digits}Z`));
}
