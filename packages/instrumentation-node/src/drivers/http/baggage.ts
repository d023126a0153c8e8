import { changesBaggage } from "../../propagation/propagation.ts";
import { isObject, property } from "../../unknown.ts";
import type { Exchange } from "./exchange.ts";

const NAME = "baggage";

/**
 * The headers that a request's head is rendered from, with its `baggage`. They are a copy if it changes: what the
 * application sees of its request, and gives to the next one after a redirect, stays as it was.
 */
export function withBaggage(headers: unknown, exchange: Exchange): unknown {
  if (!changesBaggage()) return headers;
  // Most requests have none and get none.
  const isNone = !Array.isArray(headers) && property(headers, NAME) === undefined;
  if (isNone && exchange.baggage(undefined) === undefined) return headers;
  const entries = entriesOf(headers);
  if (entries === undefined) return headers;
  const value = exchange.baggage(joined(entries));
  if (value === undefined) return headers;
  const others = entries.filter(([name]) => !isBaggage(name));
  return value === "" ? others : [...others, [NAME, value]];
}

type Entry = readonly [name: unknown, value: unknown];

/** Node's own form is an object of pairs, by names in lower case. */
function entriesOf(headers: unknown): Entry[] | undefined {
  if (Array.isArray(headers)) {
    const list: unknown[] = headers.every((entry) => Array.isArray(entry)) ? headers.flat() : headers;
    return list.length % 2 === 0 ? pairs(list) : undefined;
  }
  if (headers === null || headers === undefined) return [];
  if (!isObject(headers)) return undefined;
  const values: unknown[] = Object.values(headers);
  return values.every((entry) => Array.isArray(entry) && entry.length === 2)
    ? values.flatMap((entry) => (Array.isArray(entry) ? [[entry[0], entry[1]]] : []))
    : undefined;
}

/** As undici has them: names and values by turns, in the request that is about to be sent. */
export function withBaggageInList(list: unknown[], exchange: Exchange): void {
  if (!changesBaggage()) return;
  if (!list.some((name, i) => i % 2 === 0 && isBaggage(name)) && exchange.baggage(undefined) === undefined) return;
  const entries = pairs(list);
  const value = exchange.baggage(joined(entries));
  if (value === undefined) return;
  for (let at = list.length - 2; at >= 0; at -= 2) if (isBaggage(list[at])) list.splice(at, 2);
  if (value !== "") list.push(NAME, value);
}

function pairs(list: readonly unknown[]): Entry[] {
  return Array.from({ length: list.length / 2 }, (_, i): Entry => [list[2 * i], list[2 * i + 1]]);
}

function joined(entries: readonly Entry[]): string | undefined {
  const values = entries.filter(([name]) => isBaggage(name)).flatMap(([, value]) => value);
  return values.length === 0 ? undefined : values.map(String).join(",");
}

function isBaggage(name: unknown): boolean {
  const text = String(name);
  return text.length === NAME.length && text.toLowerCase() === NAME;
}
