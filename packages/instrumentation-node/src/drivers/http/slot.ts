/** Gives back what it gets, so that a subclass puts its private field there. */
// oxlint-disable-next-line typescript/no-extraneous-class -- only a base class can put a field on what it did not make
class Given {
  constructor(holder: object) {
    return holder;
  }
}

/** One value on each of the objects that Node or a library makes for requests. */
interface Slot<T> {
  fill(holder: object, value: T): void;
  /** Whether there is one, also when that is undefined. */
  isFilled(holder: object): boolean;
  read(holder: object): T | undefined;
}

/**
 * A WeakMap by other means: a private field of the object itself. The application cannot see it, and it costs a tenth: a
 * WeakMap has to be looked through by every garbage collection. For objects that can be extended.
 */
export function slot<T>(): Slot<T> {
  return class Field extends Given {
    #value: T;

    private constructor(holder: object, value: T) {
      super(holder);
      this.#value = value;
    }

    static fill(holder: object, value: T): void {
      if (#value in holder) holder.#value = value;
      else void new Field(holder, value);
    }

    static isFilled(holder: object): boolean {
      return #value in holder;
    }

    static read(holder: object): T | undefined {
      return #value in holder ? holder.#value : undefined;
    }
  };
}
