import type { SessionEffect } from "./classification.ts";
import type { SqlNode } from "./parser.ts";
import { isNode, list, strings } from "./tree.ts";

const RESET: SessionEffect = { kind: "path_reset" };
const FORGET_ALL: SessionEffect = { kind: "forget", name: undefined };

/** What a statement at the top level changes for those after it. */
export function effectsOf(kind: string, node: SqlNode, isAlone: boolean): readonly SessionEffect[] {
  switch (kind) {
    case "VariableSetStmt":
      return setEffects(node);
    case "DiscardStmt":
      return node["target"] === "DISCARD_ALL" ? [RESET, FORGET_ALL] : [];
    case "PrepareStmt":
      // Of several statements in a text it is not known which of them were run when one failed.
      return isAlone ? [{ kind: "prepare", name: String(node["name"]) }] : [FORGET_ALL];
    case "DeallocateStmt":
      return isAlone && typeof node["name"] === "string" ? [{ kind: "forget", name: node["name"] }] : [FORGET_ALL];
    default:
      return [];
  }
}

function setEffects(node: SqlNode): readonly SessionEffect[] {
  if (node["kind"] === "VAR_RESET_ALL") return [RESET];
  if (String(node["name"]).toLowerCase() !== "search_path") return [];
  if (node["kind"] !== "VAR_SET_VALUE") return [RESET];
  const names = list(node["args"]).map(text);
  const schemas = names.every((name) => name !== undefined) ? names : undefined;
  return [{ kind: "path", schemas, isLocal: node["is_local"] === true }];
}

/** What calling a function changes: `set_config('search_path', 'hr', false)` is SET. */
export function effectsOfCall(name: string, call: SqlNode): readonly SessionEffect[] {
  if (name !== "set_config") return [];
  const [setting, value, local] = list(call["args"]);
  const named = text(setting);
  if (named !== undefined && named.toLowerCase() !== "search_path") return [];
  const path = named === undefined ? undefined : text(value);
  return [{ kind: "path", schemas: path === undefined ? undefined : parsePath(path), isLocal: isTrue(local) }];
}

/** The value of `search_path` as the server writes and reads it: `a, "B"`. Undefined when it is none. */
export function parsePath(value: string): readonly string[] | undefined {
  if (value.trim() === "") return [];
  const names: string[] = [];
  const rest = value.replaceAll(/\s*(?:"((?:[^"]|"")*)"|([^\s",]+))\s*(?:,(?=[^,]*[^\s,])|$)/gy, (_, quoted, plain) => {
    names.push(quoted === undefined ? String(plain).toLowerCase() : String(quoted).replaceAll('""', '"'));
    return "";
  });
  return rest === "" ? names : undefined;
}

/** The name, if an EXECUTE has nothing but constants as its parameters. */
export function executedName(kind: string, node: SqlNode): string | undefined {
  if (kind !== "ExecuteStmt" || typeof node["name"] !== "string") return undefined;
  return list(node["params"]).every(isConstant) ? node["name"] : undefined;
}

/** The schemas of which a statement touches everything. */
export function wholeSchemas(kind: string, node: SqlNode): readonly string[] {
  const isDropped =
    kind === "DropStmt" && node["removeType"] === "OBJECT_SCHEMA" && node["behavior"] === "DROP_CASCADE";
  const isGranted = kind === "GrantStmt" && node["targtype"] === "ACL_TARGET_ALL_IN_SCHEMA";
  return isDropped || isGranted ? strings(list(node["objects"])) : [];
}

/** The text of a string constant. */
function text(node: unknown): string | undefined {
  const constant = isNode(node) ? node["A_Const"] : undefined;
  const value = isNode(constant) ? constant["sval"] : undefined;
  if (!isNode(value)) return undefined;
  // Protobuf leaves out what is empty.
  return typeof value["sval"] === "string" ? value["sval"] : "";
}

function isTrue(node: unknown): boolean {
  const constant = isNode(node) ? node["A_Const"] : undefined;
  const value = isNode(constant) ? constant["boolval"] : undefined;
  return isNode(value) && value["boolval"] === true;
}

function isConstant(node: unknown): boolean {
  if (!isNode(node)) return false;
  const cast = node["TypeCast"];
  return isNode(node["A_Const"]) || isNode(node["ParamRef"]) || (isNode(cast) && isConstant(cast["arg"]));
}
