import * as fs from "node:fs";

import { createFileHeader, FRAME_HEADER_BYTES, FrameKind, writeFrameHeader } from "@otel-audit/ledger/frames";

import { type Mapping, mapNewFile } from "./mapped-file.ts";

/** In a frame's header. */
const KIND_AT = 24;

/**
 * Writes a frame file through memory: a record costs a copy instead of a system call. A frame that is cut off by the end
 * of the process has no valid checksum, and what stands behind the last frame is not of this file's marker.
 */
export class MappedWriter {
  path: string;
  isOpen = true;
  readonly #fd: number;
  readonly #mapping: Mapping;
  #marker: Uint8Array = new Uint8Array(0);
  #position = 0;
  #synced = 0;

  private constructor(path: string, fd: number, mapping: Mapping) {
    this.path = path;
    this.#fd = fd;
    this.#mapping = mapping;
    this.#begin();
  }

  /** Creates a file that must not exist, mode 0600. Undefined, and no file, where files cannot be mapped. */
  static create(path: string, length: number): MappedWriter | undefined {
    const fd = fs.openSync(path, "wx+", 0o600);
    let mapping: Mapping | undefined;
    try {
      mapping = mapNewFile(fd, length);
    } finally {
      if (mapping === undefined) {
        fs.closeSync(fd);
        fs.rmSync(path, { force: true });
      }
    }
    return mapping && new MappedWriter(path, fd, mapping);
  }

  /** Bytes written. */
  get position(): number {
    return this.#position;
  }

  /** Bytes of the file, written or not. */
  get capacity(): number {
    return this.#mapping.bytes.length;
  }

  /** What is written, until the writer is used again or closed. */
  get written(): Uint8Array {
    return this.#mapping.bytes.subarray(0, this.#position);
  }

  fits(payloadLength: number): boolean {
    return this.#position + FRAME_HEADER_BYTES + payloadLength <= this.capacity;
  }

  /**
   * Writes one frame, which must fit: the first `length` bytes.
   * @param openBytes so many of its last bytes may be overwritten by `complete`
   */
  appendSync(payload: Buffer, length: number = payload.length, kind: number = FrameKind.Data, openBytes = 0): void {
    payload.copy(this.#mapping.bytes, this.#position + FRAME_HEADER_BYTES, 0, length);
    this.#frame(length, kind, openBytes);
  }

  /**
   * Makes of an intent a record that is whole: its payload begins at `at`, its open bytes from `open` to `end` are the
   * first `length` of `tail`, and the last byte says how many are left. The kind comes last: until then it is an intent,
   * whose end is not known.
   */
  complete(at: number, open: number, end: number, tail: Buffer, length: number): void {
    const { bytes } = this.#mapping;
    tail.copy(bytes, open, 0, length);
    const left = end - open - length;
    if (left > 0) bytes[end - 1] = left;
    bytes[at - FRAME_HEADER_BYTES + KIND_AT] = FrameKind.Completed;
  }

  /** Writes one frame, which must fit: what stands at `from` once more, and the first `length` bytes of `rest`. */
  appendCopySync(from: number, headLength: number, rest: Buffer, length: number): void {
    const at = this.#position + FRAME_HEADER_BYTES;
    this.#mapping.bytes.copyWithin(at, from, from + headLength);
    rest.copy(this.#mapping.bytes, at + headLength, 0, length);
    this.#frame(headLength + length, FrameKind.Data, 0);
  }

  /** Makes a frame of the payload that stands behind the place of its header. */
  #frame(length: number, kind: number, openBytes: number): void {
    const at = this.#position;
    writeFrameHeader(this.#mapping.bytes, at, length, this.#marker, kind, this.#synced, at, openBytes);
    this.#position = at + FRAME_HEADER_BYTES + length;
  }

  /** A copy of bytes that were written. */
  copy(from: number, length: number): Uint8Array {
    return Buffer.from(this.#mapping.bytes.subarray(from, from + length));
  }

  /** fdatasync writes what is mapped, too. */
  syncSync(): void {
    const position = this.#position;
    fs.fdatasyncSync(this.#fd);
    this.#synced = position;
  }

  /**
   * Empties the file, to be used again. Its pages stay in memory: to touch those of a new file for the first time costs
   * more than all else about a record.
   */
  empty(): void {
    this.#begin();
  }

  rename(path: string): void {
    fs.renameSync(this.path, path);
    this.path = path;
  }

  /** Nothing is written any more. What was written may still be read, until `unmap`. */
  closeSync(): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    fs.ftruncateSync(this.#fd, this.#position);
    fs.closeSync(this.#fd);
  }

  unmap(): void {
    this.#mapping.unmap();
  }

  #begin(): void {
    const { header, marker } = createFileHeader();
    this.#mapping.bytes.set(header, 0);
    this.#marker = marker;
    this.#position = header.length;
    this.#synced = 0;
  }
}
