import { expand } from "../../config/expand.ts";
import { parseYaml } from "../../config/yaml.ts";
import { CollectorError } from "../../errors.ts";
import { credentialsFile, type CredentialConfig } from "./config.ts";

/** Room for as many credentials as there may be. */
const MAX_BYTES = 4 * 1024 * 1024;

/**
 * Parses a file with `credentials:`. Its errors name places and never values: what stands in the wrong place may be a token.
 *
 * @throws CollectorError `INVALID_CONFIG`
 */
export function parseCredentials(text: string, file: string): readonly CredentialConfig[] {
  const document = expand(parseYaml(text, file, MAX_BYTES), { env: process.env });
  const parsed = credentialsFile.safeParse(document ?? {});
  if (parsed.success) return parsed.data.credentials;
  const issue = parsed.error.issues[0]!;
  const problem = issue.code === "unrecognized_keys" ? `has invalid keys: ${issue.keys.join(", ")}` : issue.message;
  throw new CollectorError("INVALID_CONFIG", `${file}: ${issue.path.map(String).join("::")}: ${problem}`);
}
