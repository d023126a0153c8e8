/** The text as a pattern that takes nothing else. */
export function escapeGlob(text: string): string {
  return text.replaceAll(/[\\*?{}[\]()!]/g, String.raw`\$&`);
}

/** As {@link escapeGlob}, for a host: the brackets of an IPv6 address stay. */
export function escapeHost(host: string): string {
  return host.replaceAll(/[\\*?{}]/g, String.raw`\$&`);
}

/** The text that an escaped segment stands for. */
export function unescapeGlob(pattern: string): string {
  return pattern.replaceAll(/\\(.)/gs, "$1");
}

/** A YAML scalar in double quotes on one line, whatever is in it; as it is where YAML takes it for the same text. */
export function yamlText(text: string): string {
  if (/^[A-Za-z][A-Za-z0-9._-]*$/.test(text) && !/^(?:true|false|null|yes|no|on|off|y|n)$/i.test(text)) {
    return text;
  }
  return visible(JSON.stringify(text));
}

/** Text for a comment: on one line, and nothing in it acts on a terminal or an editor. */
export function commentText(text: string): string {
  return visible(text.replaceAll(/\p{Cc}/gu, unicodeEscapes));
}

function visible(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}\p{Cn}]/gu, unicodeEscapes);
}

/** As JSON and YAML spell them: each UTF-16 code unit on its own. */
function unicodeEscapes(character: string): string {
  return Array.from({ length: character.length }, (_, index) => {
    return `\\u${character.charCodeAt(index).toString(16).padStart(4, "0")}`;
  }).join("");
}
