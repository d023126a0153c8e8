import * as fs from "node:fs";
import { LedgerError } from "./errors.ts";
import { FRAME_HEADER_BYTES, FrameKind, MAX_FRAME_PAYLOAD, createFileHeader, writeFrameHeader } from "./frame.ts";
import { type FileIo, nodeFileIo } from "./io.ts";

const FIRST_BUFFER_BYTES = 64 * 1024;

/**
 * Writes one frame file (rule L1). Two ways of use, never mixed on one file:
 *
 * - asynchronous: `add` frames, then `flush` (write) and `sync` (fdatasync). One call at a time.
 * - synchronous: `appendSync` writes a frame at once; `syncSync` only where the caller wants it.
 *
 * What `position` counts is written, what `synced` counts is on disk.
 */
export class FrameWriter {
  readonly path: string;
  readonly #fd: number;
  readonly #io: FileIo;
  readonly #marker: Uint8Array;
  #buffer: Buffer;
  #buffered = 0;
  #position: number;
  #synced: number;
  /** Bytes that the file has beyond `position`. */
  #reserved = 0;
  #open = true;

  private constructor(path: string, fd: number, io: FileIo, marker: Uint8Array, position: number, synced: number) {
    this.path = path;
    this.#fd = fd;
    this.#io = io;
    this.#marker = marker;
    this.#position = position;
    this.#synced = synced;
    this.#buffer = Buffer.allocUnsafe(FIRST_BUFFER_BYTES);
  }

  /** Creates a file that must not exist. Its header is written with the first flush. Throws what the file system throws. */
  static async create(path: string, io: FileIo = nodeFileIo): Promise<FrameWriter> {
    const { header, marker } = createFileHeader();
    const writer = new FrameWriter(path, await io.create(path), io, marker, 0, 0);
    writer.#buffer.set(header, 0);
    writer.#buffered = header.length;
    return writer;
  }

  /** Goes on writing behind `end` of a file that was read with `scanFrames`; what stands behind it is cut off. */
  static async continue(path: string, marker: Uint8Array, end: number, io: FileIo = nodeFileIo): Promise<FrameWriter> {
    const fd = await io.openExisting(path);
    const writer = new FrameWriter(path, fd, io, marker, end, 0);
    await io.truncate(fd, end);
    return writer;
  }

  /** Creates a file that must not exist, mode 0600, and writes its header. Throws what the file system throws. */
  static createSync(path: string): FrameWriter {
    const { header, marker } = createFileHeader();
    const fd = fs.openSync(path, "wx", 0o600);
    const writer = new FrameWriter(path, fd, nodeFileIo, marker, 0, 0);
    try {
      writer.#writeAllSync(header, header.length);
    } catch (error) {
      writer.closeSync();
      fs.rmSync(path, { force: true });
      throw error;
    }
    return writer;
  }

  /** Bytes written to the file. */
  get position(): number {
    return this.#position;
  }

  /** Bytes known to be on disk. */
  get synced(): number {
    return this.#synced;
  }

  /** Bytes added and not yet written. */
  get buffered(): number {
    return this.#buffered;
  }

  /** Adds a frame to the buffer. */
  add(payload: Uint8Array, start = 0, end: number = payload.length, kind: number = FrameKind.Data): void {
    const length = end - start;
    if (length > MAX_FRAME_PAYLOAD) {
      throw new LedgerError("INVALID_ARGUMENT", `a frame payload of ${length} bytes exceeds ${MAX_FRAME_PAYLOAD}`);
    }
    const at = this.#buffered;
    const next = at + FRAME_HEADER_BYTES + length;
    if (next > this.#buffer.length) this.#grow(next);
    this.#buffer.set(start === 0 && end === payload.length ? payload : payload.subarray(start, end), next - length);
    writeFrameHeader(this.#buffer, at, length, this.#marker, kind, this.#synced, this.#position + at);
    this.#buffered = next;
  }

  /** Writes the buffered frames. On failure they are dropped from the buffer and the file is cut back to `position`. */
  async flush(): Promise<void> {
    const length = this.#buffered;
    let written = 0;
    this.#buffered = 0;
    try {
      while (written < length) {
        const count = await this.#io.write(this.#fd, this.#buffer, written, length - written, this.#position + written);
        if (count === 0) throw new Error("write returned 0 bytes");
        written += count;
      }
    } catch (error) {
      // Best effort: leftovers stand above the synced offset, and the next write goes over them.
      this.#reserved = 0;
      await this.#io.truncate(this.#fd, this.#position).catch(() => undefined);
      throw error;
    }
    this.#position += length;
    this.#reserved = Math.max(0, this.#reserved - length);
  }

  /**
   * Lengthens the file by zeros, so that the next `length` bytes find room on a full disk (but for file systems that never write
   * in place). A reader takes them for a torn tail.
   */
  async reserve(length: number): Promise<void> {
    if (this.#reserved * 2 > length) return;
    const zeros = new Uint8Array(length);
    let written = 0;
    while (written < length) {
      const count = await this.#io.write(this.#fd, zeros, written, length - written, this.#position + written);
      if (count === 0) throw new Error("write returned 0 bytes");
      written += count;
      this.#reserved = Math.max(this.#reserved, written);
    }
  }

  /** fdatasync. After a failure the file must not be written or synced again (rule L2). */
  async sync(): Promise<void> {
    const position = this.#position;
    await this.#io.datasync(this.#fd);
    this.#synced = position;
  }

  async close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    await this.#io.close(this.#fd);
  }

  /** Writes one frame at once. On failure (disk full) the file is as it was before. */
  appendSync(payload: Uint8Array, kind: number = FrameKind.Data): void {
    this.add(payload, 0, payload.length, kind);
    const length = this.#buffered;
    this.#buffered = 0;
    this.#writeAllSync(this.#buffer, length);
  }

  syncSync(): void {
    const position = this.#position;
    fs.fdatasyncSync(this.#fd);
    this.#synced = position;
  }

  closeSync(): void {
    if (!this.#open) return;
    this.#open = false;
    fs.closeSync(this.#fd);
  }

  #writeAllSync(bytes: Uint8Array, length: number): void {
    let written = 0;
    try {
      while (written < length) {
        written += fs.writeSync(this.#fd, bytes, written, length - written, this.#position + written);
      }
    } catch (error) {
      try {
        fs.ftruncateSync(this.#fd, this.#position);
      } catch {
        // The write's error is the one to report; the next write goes over the leftovers.
      }
      throw error;
    }
    this.#position += length;
  }

  #grow(needed: number): void {
    let size = this.#buffer.length * 2;
    while (size < needed) size *= 2;
    const grown = Buffer.allocUnsafe(size);
    this.#buffer.copy(grown, 0, 0, this.#buffered);
    this.#buffer = grown;
  }
}
