// ignoreBOM: a leading U+FEFF is a letter of the value like any other.
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** The bytes in [start, end) as UTF-8; what is not UTF-8 becomes U+FFFD. */
export function text(bytes: Uint8Array, start: number, end: number): string {
  return start === end ? "" : decoder.decode(bytes.subarray(start, end));
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

export function hex(bytes: Uint8Array, start: number, end: number): string {
  let digits = "";
  for (let i = start; i < end; i++) digits += HEX[bytes[i]!];
  return digits;
}

const DIGITS = new Int8Array(256).map((_, code) => {
  const digit = "0123456789abcdef".indexOf(String.fromCharCode(code).toLowerCase());
  return code < 0x80 ? digit : -1;
});

/** The value of an ASCII hexadecimal digit of either case, or -1. */
export function hexDigit(code: number): number {
  return code < 256 ? DIGITS[code]! : -1;
}

export function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("base64");
}

/** The bytes of standard or URL-safe base64, padded or not (ProtoJSON accepts all four); undefined if it is neither. */
export function fromBase64(value: string): Uint8Array | undefined {
  const match = /^([A-Za-z0-9+/_-]*)={0,2}$/.exec(value);
  if (match === null || match[1]!.length % 4 === 1) return undefined;
  return Buffer.from(value, "base64");
}
