import { AttributeList, ScopeFields, type SpanIndex, readResource, readScope } from "@otel-audit/otlp";
import { fillMap, writeText } from "./attribute-map.ts";
import { ByteBuffer, cutAt } from "./byte-buffer.ts";
import { EntryTable } from "./entry-table.ts";
import { RecordNotes, type Stage } from "./record-notes.ts";
import { RowFlag } from "./row-format.ts";

const SERVICE_NAME = new TextEncoder().encode("service.name");
const NO_BYTES = new Uint8Array(0);

/**
 * The columns that all spans of a ResourceSpans or ScopeSpans share, encoded once. Spans stand grouped in a request, so
 * the last one is all that needs to be kept.
 */
abstract class SharedPart {
  readonly notes = new RecordNotes();
  readonly columns = new ByteBuffer(1024);
  protected readonly table = new EntryTable();
  #request: Uint8Array = NO_BYTES;
  #row = -1;
  #stage: Stage = 0;

  /** Encodes the part unless it is the one encoded last. Throws OtlpError when its bytes are broken. */
  load(index: SpanIndex, row: number, stage: Stage): void {
    if (this.#request === index.bytes && this.#row === row && this.#stage === stage) return;
    this.#row = -1;
    this.notes.reset(stage);
    this.columns.clear();
    this.table.clear();
    this.encode(index, row);
    this.#request = index.bytes;
    this.#row = row;
    this.#stage = stage;
  }

  /** Forgets the request, so that its bytes can be freed or reused. */
  forget(): void {
    this.#request = NO_BYTES;
    this.#row = -1;
  }

  protected abstract encode(index: SpanIndex, row: number): void;

  protected writeMap(what: string, list: AttributeList, bytes: Uint8Array, start: number, end: number): void {
    const { notes, table, columns } = this;
    const complete = fillMap(table, notes, bytes, list, `${what}:`, undefined);
    if (!complete) notes.flags |= RowFlag.PartsDropped;
    if (!complete || (notes.stage > 0 && list.count > 0)) notes.noteWhole(what, bytes, start, end);
    table.write(columns, bytes);
  }

  protected writeName(name: string, bytes: Uint8Array, start: number, end: number): void {
    const cut = cutAt(bytes, start, end, this.notes.textLimit);
    this.columns.string(bytes, start, cut);
    if (cut !== end) this.notes.noteCut(`column:${name}`, bytes, 0, 0, bytes, start, end);
  }
}

/** ServiceName and ResourceAttributes. */
export class ResourcePart extends SharedPart {
  readonly #list = new AttributeList();
  readonly #service = new ByteBuffer();

  protected override encode(index: SpanIndex, row: number): void {
    const { bytes } = index;
    const start = index.resourceStart[row]!;
    const end = index.resourceEnd[row]!;
    const list = this.#list;
    readResource(bytes, start, end, list);
    this.#service.clear();
    const service = list.find(bytes, SERVICE_NAME);
    if (service >= 0) {
      // The map keeps the same value and notes what was cut of it.
      const from = list.valueStart[service]!;
      const limit = this.notes.textLimit;
      const kind = list.kind[service]!;
      writeText(this.#service, this.notes, bytes, kind, from, list.valueEnd[service]!, limit);
    }
    this.columns.string(this.#service.bytes, 0, this.#service.length);
    this.writeMap("resource", list, bytes, start, end);
  }
}

/** ScopeName, ScopeVersion and ScopeAttributes. */
export class ScopePart extends SharedPart {
  readonly #scope = new ScopeFields();

  protected override encode(index: SpanIndex, row: number): void {
    const { bytes } = index;
    const start = index.scopeStart[row]!;
    const end = index.scopeEnd[row]!;
    const scope = this.#scope;
    readScope(bytes, start, end, scope);
    this.writeName("ScopeName", bytes, scope.nameStart, scope.nameEnd);
    this.writeName("ScopeVersion", bytes, scope.versionStart, scope.versionEnd);
    this.writeMap("scope", scope.attributes, bytes, start, end);
  }
}
