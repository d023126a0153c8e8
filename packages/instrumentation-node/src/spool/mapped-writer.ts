import * as fs from "node:fs";

import { createFileHeader, FRAME_HEADER_BYTES, FrameKind, writeFrameHeader } from "@otel-audit/ledger/frames";

import { type Mapping, mapNewFile } from "./mapped-file.ts";

/**
 * Writes a frame file through memory: a record costs a copy instead of a system call. A frame that is cut off by the end
 * of the process has no valid checksum, and what stands behind the last frame is not of this file's marker.
 */
export class MappedWriter {
  path: string;
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

  /** Writes one frame, which must fit. */
  appendSync(payload: Uint8Array, kind: number = FrameKind.Data): void {
    const at = this.#position;
    const bytes = this.#mapping.bytes;
    bytes.set(payload, at + FRAME_HEADER_BYTES);
    writeFrameHeader(bytes, at, payload.length, this.#marker, kind, this.#synced, at);
    this.#position = at + FRAME_HEADER_BYTES + payload.length;
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

  closeSync(): void {
    this.#mapping.unmap();
    fs.ftruncateSync(this.#fd, this.#position);
    fs.closeSync(this.#fd);
  }

  #begin(): void {
    const { header, marker } = createFileHeader();
    this.#mapping.bytes.set(header, 0);
    this.#marker = marker;
    this.#position = header.length;
    this.#synced = 0;
  }
}
