/** `scheme://user:password@` at any place of a text; the scheme stays. Userinfo ends at the last @ before / ? #. */
const USERINFO = /([a-z][a-z0-9+.-]*:\/\/)[^/?#\s]*@/gi;

/** Takes user names and passwords out of every URL in `text`. */
export function redactCredentials(text: string): string {
  return text.includes("@") ? text.replace(USERINFO, "$1") : text;
}

/**
 * The canonical id of a URL: scheme, host in its ASCII form, port if not the scheme's default, path. No credentials,
 * query or fragment. Never throws: what is not a URL is returned without credentials, query and fragment.
 */
export function canonicalUrl(url: string | URL): string {
  const text = typeof url === "string" ? url : url.href;
  try {
    const parsed = new URL(text);
    return `${parsed.protocol}//${parsed.host}${parsed.pathname}`;
  } catch {
    return redactCredentials(text).replace(/[?#].*$/s, "");
  }
}
