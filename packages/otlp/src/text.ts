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

/** The value of an ASCII hexadecimal digit of either case, or -1. */
export function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const letter = code | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
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
