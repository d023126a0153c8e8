/**
 * An upper bound of how deeply the parser's tree of `text` can be nested, in tokens.
 *
 * libpg-query is PostgreSQL's C code in WebAssembly and walks its tree recursively. Where that runs out of stack it
 * traps, and a trap leaves its memory in the middle of something. So a text that could nest too deeply is not parsed
 * at all. Every level of the tree needs a token of its own; siblings in a list are separated by commas, so what counts
 * are the tokens since the last comma, summed over the open parentheses. Set operations chain across commas.
 *
 * The lexer is only as good as this purpose needs: where it differs from PostgreSQL's, the estimate is off, and
 * nothing else.
 */
export function nestingBound(text: string): number {
  const outer: number[] = [];
  let outerSum = 0;
  let current = 0;
  let setOperations = 0;
  let deepest = 0;
  TOKEN.lastIndex = 0;
  for (let match = TOKEN.exec(text); match !== null; match = TOKEN.exec(text)) {
    const token = match[0];
    switch (token) {
      case "(":
      case "[":
        outer.push(current + 1);
        outerSum += current + 1;
        current = 0;
        break;
      case ")":
      case "]":
        current = outer.pop() ?? 0;
        outerSum = Math.max(0, outerSum - current);
        break;
      case ",":
        current = 0;
        break;
      case ";":
        current = 0;
        setOperations = 0;
        break;
      default:
        current++;
        if (SET_OPERATION.test(token)) setOperations++;
    }
    deepest = Math.max(deepest, outerSum + current + setOperations);
  }
  return deepest;
}

/**
 * Literals and comments are one token each, to the end of the text where they do not end: looking for the end of each of
 * ten thousand comments would take a second. Then words with numbers, then single characters.
 */
const TOKEN =
  /--[^\n]*|\/\*[\s\S]*?(?:\*\/|$)|[eE]'(?:[^'\\]|\\[\s\S]|'')*'|'[^']*'|"[^"]*"|\$([A-Za-z_]\w*)?\$[\s\S]*?(?:\$\1\$|$)|[\p{L}\p{N}_$]+|[^\s\p{L}\p{N}_$]|\$/gu;
const SET_OPERATION = /^(?:union|intersect|except)$/i;
