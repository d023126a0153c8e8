/** `scheme://user:password@` at any place of a text; the scheme stays. Userinfo ends at the last @ before / ? #. */
const USERINFO = /([a-z][a-z0-9+.-]*:\/\/)[^/?#\s]*@/gi;

/** Takes user names and passwords out of every URL in `text`. */
export function redactCredentials(text: string): string {
  return text.includes("@") ? text.replace(USERINFO, "$1") : text;
}
