import { type AttributeList, ValueKind } from "@otel-audit/otlp";
import { ATTR_AUDIT_ACTOR_CLAIMED } from "@otel-audit/semantic-conventions";
import { LIMITS } from "./row-format.ts";
import { TypedColumns } from "./typed-columns.ts";
import type { CollectorFacts, IdentityAnswer } from "./types.ts";
import { stringElements } from "./value-text.ts";

const EVENT_NAME = TypedColumns.find("EventName");
const ACTOR_ID = TypedColumns.find("ActorId");
const ACTOR_TYPE = TypedColumns.find("ActorType");
const ON_BEHALF_OF = TypedColumns.find("OnBehalfOf");
/** What an answer depends on, when it may be remembered. */
const KEY_COLUMNS = [EVENT_NAME, ACTOR_ID, ACTOR_TYPE];
const CLAIMED = Buffer.from(ATTR_AUDIT_ACTOR_CLAIMED);
/** The actor, its chain, and on whose behalf. */
const MAX_CLAIMED = LIMITS.actorChain + 2;
/** An actor's id of this many bytes may have been cut, at the start of a character. */
const MAY_BE_CUT = LIMITS.actorId - 3;
/** Bytes of event, actor id and actor type; who sends longer ones is asked for each. */
const MAX_REMEMBERED = 1024;
/** A power of two. */
const SLOTS = 8192;

type Identify = NonNullable<CollectorFacts["identify"]>;

interface Known {
  readonly identify: Identify;
  readonly lengths: readonly number[];
  /** The key columns' bytes, one after the other. */
  readonly bytes: Uint8Array;
  readonly answer: IdentityAnswer;
}

/**
 * Asks `facts.identify`, once for each sender, event and actor as long as they stay in a table of fixed size. The
 * common record of a known actor costs a hash of some 30 bytes and makes no object.
 */
export class Identities {
  readonly #known: (Known | undefined)[] = Array.from({ length: SLOTS });
  readonly #elements: number[] = [];

  of(identify: Identify, columns: TypedColumns): IdentityAnswer {
    const slot = hashOf(columns);
    const known = this.#known[slot];
    if (known !== undefined && known.identify === identify && isSame(known, columns)) return known.answer;
    const answer = identify({
      event: columns.text(EVENT_NAME),
      actorId: columns.text(ACTOR_ID),
      actorType: columns.text(ACTOR_TYPE),
      onBehalfOf: columns.text(ON_BEHALF_OF),
    });
    if (answer.remember && lengthOf(columns) <= MAX_REMEMBERED) this.#known[slot] = remember(identify, columns, answer);
    return answer;
  }

  /** The record says itself that its maker has the actor's name from another process and did not verify it. */
  isClaimed(columns: TypedColumns, bytes: Uint8Array, attributes: AttributeList): boolean {
    const row = attributes.find(bytes, CLAIMED);
    if (row === -1) return false;
    if (attributes.kind[row] !== ValueKind.Array) return true;
    const elements = this.#elements;
    const count = stringElements(bytes, attributes.valueStart[row]!, attributes.valueEnd[row]!, MAX_CLAIMED, elements);
    // Not a list of strings, or more than there can be: whatever it means, it is a claim.
    if (count < 0 || count > MAX_CLAIMED) return true;
    const actor = bytesOf(columns, ACTOR_ID);
    for (let i = 0; i < elements.length; i += 2) {
      const claimed = bytes.subarray(elements[i], elements[i + 1]);
      if (actor.equals(actor.length < MAY_BE_CUT ? claimed : claimed.subarray(0, actor.length))) return true;
    }
    return false;
  }
}

function lengthOf({ start, end }: TypedColumns): number {
  return KEY_COLUMNS.reduce((sum, column) => sum + end[column]! - start[column]!, 0);
}

/** FNV-1a, folded to a slot. Who fills the table with actors that meet only makes it ask again. */
function hashOf(columns: TypedColumns): number {
  let hash = 0x811c9dc5;
  for (const column of KEY_COLUMNS) {
    const bytes = columns.bytesOf(column);
    for (let at = columns.start[column]!; at < columns.end[column]!; at++)
      hash = Math.imul(hash ^ bytes[at]!, 0x01000193);
  }
  return (hash ^ (hash >>> 15)) & (SLOTS - 1);
}

function isSame({ lengths, bytes }: Known, columns: TypedColumns): boolean {
  let at = 0;
  for (let i = 0; i < KEY_COLUMNS.length; i++) {
    const column = KEY_COLUMNS[i]!;
    const own = columns.bytesOf(column);
    const from = columns.start[column]!;
    const length = columns.end[column]! - from;
    if (length !== lengths[i]) return false;
    for (let j = 0; j < length; j++) if (own[from + j] !== bytes[at++]) return false;
  }
  return true;
}

function remember(identify: Identify, columns: TypedColumns, answer: IdentityAnswer): Known {
  const parts = KEY_COLUMNS.map((column) => bytesOf(columns, column));
  return { identify, lengths: parts.map(({ length }) => length), bytes: Buffer.concat(parts), answer };
}

function bytesOf(columns: TypedColumns, column: number): Buffer {
  const { buffer, byteOffset } = columns.bytesOf(column);
  const start = columns.start[column]!;
  return Buffer.from(buffer, byteOffset + start, columns.end[column]! - start);
}
