import { type AuditAction, AUDIT_ACTIONS_BY_DANGER } from "@otel-audit/semantic-conventions";

import type { SessionEffect, SqlClassification, SqlTable } from "./classification.ts";
import { effectsOf, effectsOfCall, executedName, wholeSchemas } from "./effects.ts";
import { FUNCTION_ACTIONS } from "./functions.ts";
import type { SqlNode } from "./parser.ts";
import { isNode, list, strings } from "./tree.ts";
import { ruleFor, type StatementRule, TELLING_SETTINGS } from "./statements.ts";

/** One operation with the names of its own tables, for the summary. */
interface Step {
  readonly operation: string;
  readonly names: Set<string>;
  /** Of a statement that is worth a record. */
  readonly counts: boolean;
}

/** The CTE names that a relation may mean. */
interface Scope {
  readonly names: ReadonlySet<string>;
  readonly outer: Scope | undefined;
}

/** Where the walk is: whose step, and what a relation found there is. */
interface Place {
  readonly step: Step;
  readonly scope: Scope | undefined;
  readonly access: "read" | "write";
}

const MAX_SUMMARY = 255;

/** Collects what the statements of one text do. */
export class Collector {
  readonly #tables = new Map<string, SqlTable>();
  readonly #steps: Step[] = [];
  readonly #schemas = new Set<string>();
  readonly #effects: SessionEffect[] = [];
  #executes: string | undefined;
  #action: AuditAction = "READ";
  #database = false;
  #mentions = 0;
  #ignorable = true;

  /**
   * A statement at the top level.
   * @param isAlone it is the only one of its text
   */
  statement(node: SqlNode, isAlone: boolean): void {
    for (const [kind, body] of Object.entries(node)) {
      if (!isNode(body)) continue;
      this.#effects.push(...effectsOf(kind, body, isAlone));
      if (isAlone) this.#executes = executedName(kind, body);
      if (isIgnorable(kind, body)) {
        this.#steps.push({ operation: ruleFor(kind).operation, names: new Set(), counts: false });
        continue;
      }
      this.#ignorable = false;
      const before = this.#mentions;
      this.#statement(kind, body, undefined, true);
      if (this.#mentions === before) this.#database = true;
    }
  }

  result(): SqlClassification {
    const tables = [...this.#tables.values()];
    const steps = this.#steps.filter(({ counts }) => counts || this.#ignorable);
    return {
      action: this.#action,
      operations: [...new Set(this.#steps.map(({ operation }) => operation))],
      tables: [...tables.filter(isWritten), ...tables.filter((table) => !isWritten(table))],
      database: this.#database,
      summary: summarize(steps.map(({ operation, names }) => [operation, ...names])),
      ignorable: this.#ignorable,
      ...(this.#schemas.size > 0 && { schemas: [...this.#schemas] }),
      ...(this.#effects.length > 0 && { effects: this.#effects }),
      ...(this.#executes !== undefined && { executes: this.#executes }),
    };
  }

  #statement(kind: string, node: SqlNode, scope: Scope | undefined, top: boolean): void {
    const rule = ruleFor(kind);
    const step: Step = { operation: operationOf(kind, node, rule), names: new Set(), counts: true };
    const at = this.#steps.push(step) - 1;
    const action = actionOf(kind, node, rule);
    this.#raise(action);
    if (rule.database === true || action === "EXECUTE") this.#database = true;
    const inner = this.#with(node["withClause"], scope);
    for (const table of namedTables(kind, node)) this.#table(table, step);
    for (const schema of wholeSchemas(kind, node)) {
      this.#mentions++;
      this.#schemas.add(schema);
      step.names.add(printable(schema));
    }
    for (const [field, value] of Object.entries(node)) {
      if (field === "withClause") continue;
      const written = rule.othersWritten === true || rule.writes?.includes(field) === true;
      // A written relation is never a CTE; PostgreSQL refuses to write to one.
      const place: Place = written
        ? { step, scope: undefined, access: "write" }
        : { step, scope: inner, access: "read" };
      if (kind === "SelectStmt" && (field === "larg" || field === "rarg") && isNode(value)) {
        this.#statement("SelectStmt", value, inner, false);
      } else if (kind === "CopyStmt" && field === "relation") {
        this.#walk(value, { ...place, access: node["is_from"] === true ? "write" : "read" });
      } else if (kind === "ExplainStmt" && !analyzes(node)) {
        this.#explained(value, inner, step);
      } else {
        this.#walk(value, place);
      }
    }
    if (returnsRows(kind, node)) this.#walk(node["relation"], { step, scope: undefined, access: "read" });
    // VALUES, the two halves of a UNION, subqueries without tables: the step around them says it.
    const empty = kind === "SelectStmt" && step.names.size === 0 && (!top || this.#steps.length > at + 1);
    if (empty) this.#steps.splice(at, 1);
  }

  /** EXPLAIN without ANALYZE plans a statement and does not run it: it reads what tables there are. */
  #explained(value: unknown, scope: Scope | undefined, step: Step): void {
    const aside = new Collector();
    for (const [kind, body] of isNode(value) ? Object.entries(value) : []) {
      if (isNode(body)) aside.#statement(kind, body, scope, true);
    }
    for (const { schema, name } of aside.#tables.values()) this.#table({ schema, name, access: "read" }, step);
  }

  /** Walks a WITH clause; the scope of what comes after it. */
  #with(clause: unknown, outer: Scope | undefined): Scope | undefined {
    if (!isNode(clause)) return outer;
    const entries = list(clause["ctes"]).flatMap((entry) =>
      isNode(entry) && isNode(entry["CommonTableExpr"]) ? [entry["CommonTableExpr"]] : [],
    );
    const names = new Set<string>();
    const scope: Scope = { names, outer };
    const recursive = clause["recursive"] === true;
    // Only WITH RECURSIVE sees itself and what comes later: in `WITH orders AS (SELECT * FROM orders)` the inner one
    // is the table.
    if (recursive) for (const entry of entries) names.add(String(entry["ctename"]));
    for (const entry of entries) {
      const visible = recursive ? scope : { names: new Set(names), outer };
      for (const [kind, body] of isNode(entry["ctequery"]) ? Object.entries(entry["ctequery"]) : []) {
        if (isNode(body)) this.#statement(kind, body, visible, false);
      }
      names.add(String(entry["ctename"]));
    }
    return scope;
  }

  #walk(value: unknown, place: Place): void {
    if (Array.isArray(value)) {
      for (const item of value) this.#walk(item, place);
      return;
    }
    if (!isNode(value)) return;
    if (typeof value["relname"] === "string") {
      this.#relation(value, place);
      return;
    }
    if (Array.isArray(value["funcname"])) this.#function(value, value["funcname"], place.step);
    for (const [field, child] of Object.entries(value)) {
      if (field.endsWith("Stmt") && isNode(child)) this.#statement(field, child, place.scope, false);
      else if (typeof child === "object") this.#walk(child, place);
    }
  }

  #relation(node: SqlNode, { step, scope, access }: Place): void {
    const name = String(node["relname"]);
    const schema = typeof node["schemaname"] === "string" ? node["schemaname"] : undefined;
    if (schema === undefined && access === "read" && isCommonTable(name, scope)) return;
    this.#table({ schema, name, access }, step);
  }

  #table(table: SqlTable, step: Step): void {
    this.#mentions++;
    // UPDATE of this view is SET.
    if (table.access === "write" && table.name === "pg_settings") {
      this.#effects.push({ kind: "path", schemas: undefined, isLocal: false });
    }
    const key = JSON.stringify([table.access, table.schema, table.name]);
    if (!this.#tables.has(key)) this.#tables.set(key, table);
    step.names.add(printable(table.schema === undefined ? table.name : `${table.schema}.${table.name}`));
  }

  #function(call: SqlNode, path: readonly unknown[], step: Step): void {
    const name = strings(path).at(-1)?.toLowerCase();
    const action = name === undefined ? undefined : FUNCTION_ACTIONS.get(name);
    if (name === undefined) return;
    if (step.operation === "CALL") step.names.add(printable(strings(path).join(".")));
    if (action === undefined) return;
    this.#effects.push(...effectsOfCall(name, call));
    this.#raise(action);
    this.#database = true;
    step.names.add(name);
  }

  #raise(action: AuditAction): void {
    if (AUDIT_ACTIONS_BY_DANGER.indexOf(action) > AUDIT_ACTIONS_BY_DANGER.indexOf(this.#action)) this.#action = action;
  }
}

function isWritten(table: SqlTable): boolean {
  return table.access === "write";
}

function isCommonTable(name: string, scope: Scope | undefined): boolean {
  for (let at = scope; at !== undefined; at = at.outer) if (at.names.has(name)) return true;
  return false;
}

/** BEGIN, COMMIT, SET, SHOW and `SELECT 1`. */
function isIgnorable(kind: string, node: SqlNode): boolean {
  if (kind === "VariableSetStmt") {
    // RESET ALL goes back to what is assumed without any SET.
    return node["kind"] === "VAR_RESET_ALL" || !TELLING_SETTINGS.has(String(node["name"]).toLowerCase());
  }
  if (kind === "SelectStmt") return isConstant(node);
  return ruleFor(kind).ignorable === true;
}

const CONSTANT_FIELDS = new Set(["targetList", "limitOption", "op"]);

function isConstant(select: SqlNode): boolean {
  if (!Object.keys(select).every((field) => CONSTANT_FIELDS.has(field))) return false;
  return list(select["targetList"]).every((target) => {
    const value = isNode(target) && isNode(target["ResTarget"]) ? target["ResTarget"]["val"] : undefined;
    return isNode(value) && (isNode(value["A_Const"]) || isNode(value["ParamRef"]));
  });
}

function operationOf(kind: string, node: SqlNode, rule: StatementRule): string {
  if (kind === "DropStmt") return `DROP ${String(node["removeType"]).replace("OBJECT_", "").replaceAll("_", " ")}`;
  if (kind === "RenameStmt") return `ALTER ${String(node["renameType"]).replace("OBJECT_", "").replaceAll("_", " ")}`;
  if (kind === "GrantStmt" || kind === "GrantRoleStmt") return node["is_grant"] === true ? "GRANT" : "REVOKE";
  if (kind === "VacuumStmt") return node["is_vacuumcmd"] === true ? "VACUUM" : "ANALYZE";
  if (kind === "SelectStmt" && isNode(node["intoClause"])) return "SELECT INTO";
  return rule.operation;
}

function actionOf(kind: string, node: SqlNode, rule: StatementRule): AuditAction {
  switch (kind) {
    case "SelectStmt":
      return isNode(node["intoClause"]) ? "CREATE" : "READ";
    case "InsertStmt":
      return isNode(node["onConflictClause"]) && node["onConflictClause"]["action"] === "ONCONFLICT_UPDATE"
        ? "UPDATE"
        : "WRITE";
    case "MergeStmt":
      return mergeAction(node);
    case "CopyStmt":
      // A file name is one of the server's own files; COPY of an application is FROM STDIN or TO STDOUT.
      if (node["is_program"] === true || typeof node["filename"] === "string") return "EXECUTE";
      return node["is_from"] === true ? "WRITE" : "READ";
    case "AlterTableStmt":
      return list(node["cmds"]).some(dropsColumn) ? "DELETE" : "UPDATE";
    default:
      return rule.action;
  }
}

const MERGE_ACTIONS: Readonly<Record<string, AuditAction>> = {
  CMD_DELETE: "DELETE",
  CMD_UPDATE: "UPDATE",
  CMD_INSERT: "WRITE",
};

function mergeAction(node: SqlNode): AuditAction {
  const actions = list(node["mergeWhenClauses"]).map((clause) => {
    const when =
      isNode(clause) && isNode(clause["MergeWhenClause"]) ? String(clause["MergeWhenClause"]["commandType"]) : "";
    return MERGE_ACTIONS[when] ?? "READ";
  });
  return AUDIT_ACTIONS_BY_DANGER.findLast((action) => actions.includes(action)) ?? "READ";
}

function dropsColumn(command: unknown): boolean {
  return isNode(command) && isNode(command["AlterTableCmd"]) && command["AlterTableCmd"]["subtype"] === "AT_DropColumn";
}

/** UPDATE and DELETE with RETURNING hand out rows that were there: they read as well as write. */
function returnsRows(kind: string, node: SqlNode): boolean {
  return (kind === "UpdateStmt" || kind === "DeleteStmt" || kind === "MergeStmt") && isNode(node["returningClause"]);
}

function analyzes(explain: SqlNode): boolean {
  return list(explain["options"]).some((option) => {
    const element = isNode(option) && isNode(option["DefElem"]) ? option["DefElem"] : undefined;
    return element?.["defname"] === "analyze" && !isFalse(element["arg"]);
  });
}

function isFalse(argument: unknown): boolean {
  if (!isNode(argument)) return false;
  const text = strings([argument])[0]?.toLowerCase();
  if (text !== undefined) return ["false", "off", "0", "no"].includes(text);
  if (isNode(argument["Integer"])) return (argument["Integer"]["ival"] ?? 0) === 0;
  return isNode(argument["Boolean"]) && argument["Boolean"]["boolval"] !== true;
}

const RELATION_TYPES = new Set([
  "OBJECT_TABLE",
  "OBJECT_VIEW",
  "OBJECT_MATVIEW",
  "OBJECT_FOREIGN_TABLE",
  "OBJECT_SEQUENCE",
]);
/** Their names are that of a table and one more. */
const PART_TYPES = new Set(["OBJECT_COLUMN", "OBJECT_TRIGGER", "OBJECT_RULE", "OBJECT_POLICY", "OBJECT_TABCONSTRAINT"]);

/** Relations that DROP, COMMENT and SECURITY LABEL name by lists of strings. */
function namedTables(kind: string, node: SqlNode): SqlTable[] {
  const type = String(node["removeType"] ?? node["objtype"]);
  const objects =
    kind === "DropStmt"
      ? list(node["objects"])
      : kind === "CommentStmt" || kind === "SecLabelStmt"
        ? [node["object"]]
        : [];
  if (!RELATION_TYPES.has(type) && !PART_TYPES.has(type)) return [];
  return objects.flatMap((object) => {
    const path = isNode(object) && isNode(object["List"]) ? strings(list(object["List"]["items"])) : [];
    const [name, schema] = path.slice(0, PART_TYPES.has(type) ? -1 : undefined).toReversed();
    return name === undefined ? [] : [{ schema, name, access: "write" as const }];
  });
}

/** Names are quoted where they would read as something else. */
function printable(name: string): string {
  return /^[\p{L}\p{N}_$.]+$/u.test(name) ? name : JSON.stringify(name);
}

/** Steps until the bound, never half a name; repeated neighbours once. */
function summarize(steps: readonly (readonly string[])[]): string {
  let summary = "";
  let last: string | undefined;
  for (const step of steps) {
    const text = step.join(" ");
    if (text === last) continue;
    last = text;
    for (const word of step) {
      const next = summary === "" ? word : `${summary} ${word}`;
      if (next.length > MAX_SUMMARY) return summary;
      summary = next;
    }
  }
  return summary;
}
