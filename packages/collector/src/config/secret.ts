const SECRET = /password|token|secret|headers/i;

/** A setting whose value no error and no printed configuration repeats. A path to a secret is none. */
export function isSecret(key: PropertyKey): boolean {
  return typeof key === "string" && SECRET.test(key) && !key.endsWith("_file");
}
