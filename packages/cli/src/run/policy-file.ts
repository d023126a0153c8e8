import type { Policy } from "@otel-audit/policy";
import { access, constants, readFile, stat, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { CliError, describeSystemError } from "../errors.ts";

/** @throws CliError `USAGE` when the policy cannot be used */
export async function readPolicy(option: string, file: string): Promise<Policy> {
  const { Policy, PolicyError } = await import("@otel-audit/policy");
  try {
    return Policy.parse(await readFile(file, "utf8"), { file });
  } catch (cause) {
    // The message has a line with its place for each fault.
    if (cause instanceof PolicyError) throw new CliError("USAGE", `${option}: ${cause.message}`, { cause });
    throw new CliError("USAGE", `${option}: cannot read "${file}": ${describeSystemError(cause)}`, { cause });
  }
}

const IS_THERE = "it is there already, and is not written over";

/**
 * Says before a long run what would be wrong with its result.
 *
 * @throws CliError `USAGE`
 */
export async function checkNewFile(option: string, file: string): Promise<void> {
  if (await stat(file).catch(() => undefined)) throw cannotWrite(option, file, IS_THERE);
  try {
    await access(dirname(file), constants.W_OK);
  } catch (cause) {
    throw cannotWrite(option, file, describeSystemError(cause), cause);
  }
}

/**
 * A policy is read and cut by people: one that is there is never written over.
 *
 * @throws CliError `USAGE`
 */
export async function writePolicy(option: string, file: string, text: string): Promise<void> {
  try {
    await writeFile(file, text, { flag: "wx" });
  } catch (cause) {
    const exists = cause instanceof Error && "code" in cause && cause.code === "EEXIST";
    throw cannotWrite(option, file, exists ? IS_THERE : describeSystemError(cause), cause);
  }
}

function cannotWrite(option: string, file: string, why: string, cause?: unknown): CliError {
  return new CliError("USAGE", `${option}: cannot write "${file}": ${why}`, { cause });
}
