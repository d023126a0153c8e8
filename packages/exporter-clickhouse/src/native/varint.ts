/** The varint at `at` and the position behind it; undefined when the bytes end before it does. */
export function readVarintAt(bytes: Uint8Array, at: number): { value: number; end: number } | undefined {
  let value = 0;
  let scale = 1;
  for (let position = at; position < bytes.length; position++) {
    const byte = bytes[position]!;
    value += (byte & 127) * scale;
    if (byte < 128) return { value, end: position + 1 };
    scale *= 128;
  }
  return undefined;
}
