import { fileURLToPath } from "node:url";

import { rethrowOverflow } from "../../intrinsics.ts";

/** The path of a URL; undefined for what is none, or none of a file: the original says what is wrong with it. */
export function urlPath(argument: object): string | undefined {
  try {
    return isUrl(argument) ? fileURLToPath(argument) : undefined;
  } catch (error) {
    rethrowOverflow(error);
    return undefined;
  }
}

/** As Node tells a URL, which may be of another implementation than its own. */
function isUrl(value: object): value is URL {
  return (
    Boolean(Reflect.get(value, "href") && Reflect.get(value, "protocol")) &&
    Reflect.get(value, "auth") === undefined &&
    Reflect.get(value, "path") === undefined
  );
}
