import type { Column } from "./columns.ts";
import { type Source, areEqual } from "./source.ts";

/**
 * Neighbouring columns that rarely change from row to row: empty ones, those of one service, one policy, one kind of event.
 * As long as the bytes of all of them together are those of the row before, one comparison stands for all their values.
 */
export class SteadyColumns {
  readonly #columns: readonly Column[];
  /** Where the bytes of the row before stand, and how many. */
  #last = 0;
  #length = 0;
  /** Rows that were like the last one the columns took, and that they do not have yet. */
  #repeats = 0;

  constructor(columns: readonly Column[]) {
    this.#columns = columns;
  }

  appendTile(source: Source, cursors: Uint32Array, count: number): void {
    for (let row = 0; row < count; row++) {
      const at = cursors[row]!;
      const length = this.#length;
      if (
        length > 0 &&
        at + length <= source.bytes.length &&
        areEqual(source.view, at, source.view, this.#last, length)
      ) {
        this.#repeats++;
      } else {
        this.#length = this.#append(source, at) - at;
      }
      this.#last = at;
      cursors[row] = at + this.#length;
    }
  }

  /** Gives the columns what they do not have yet. */
  flush(): void {
    if (this.#repeats > 0) for (const column of this.#columns) column.repeatMarked(this.#repeats);
    this.#repeats = 0;
  }

  #append(source: Source, at: number): number {
    this.flush();
    let position = at;
    for (const column of this.#columns) {
      column.mark();
      position = column.appendRun(source, position, 1);
    }
    return position;
  }
}

/** Whether the values of a tile, which stand in [starts[i], ends[i]), are all the same. */
export function isSteady(source: Source, starts: Uint32Array, ends: Uint32Array, count: number): boolean {
  const length = ends[0]! - starts[0]!;
  for (let row = 1; row < count; row++) {
    if (ends[row]! - starts[row]! !== length) return false;
    if (!areEqual(source.view, starts[row]!, source.view, starts[0]!, length)) return false;
  }
  return true;
}
