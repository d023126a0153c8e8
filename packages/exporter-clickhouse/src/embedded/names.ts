/** A set written as a text: names with commas between them. */
export function names(text: string): ReadonlySet<string> {
  return new Set(text.split(",").map((name) => name.trim()));
}
