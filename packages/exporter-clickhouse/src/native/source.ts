/** RowBinary as it is read: bytes one at a time, and the same memory four bytes at a time. */
export interface Source {
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

export function sourceOf(bytes: Uint8Array): Source {
  return { bytes, view: viewOf(bytes) };
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Whether `length` bytes are the same. Values are short: four bytes a step beats a call into native code. */
export function areEqual(a: DataView, atA: number, b: DataView, atB: number, length: number): boolean {
  let i = 0;
  for (; i + 8 <= length; i += 8) if (a.getBigInt64(atA + i) !== b.getBigInt64(atB + i)) return false;
  for (; i < length; i++) if (a.getUint8(atA + i) !== b.getUint8(atB + i)) return false;
  return true;
}
