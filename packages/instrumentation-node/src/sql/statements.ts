import type { AuditAction } from "@otel-audit/semantic-conventions";

/** What a kind of statement means. */
export interface StatementRule {
  /** As in `db.operation.name`. */
  readonly operation: string;
  readonly action: AuditAction;
  /** Fields whose relations are written. The relations of all other fields are read, unless `othersWritten`. */
  readonly writes?: readonly string[];
  readonly othersWritten?: true;
  /** It acts on the database as a whole, or on something in it whose effect the text does not show. */
  readonly database?: true;
  /** Neither reads nor changes data: not worth a record by itself. */
  readonly ignorable?: true;
}

function rule(
  operation: string,
  action: AuditAction,
  more: Omit<StatementRule, "operation" | "action"> = {},
): StatementRule {
  return { operation, action, ...more };
}

const relation = { writes: ["relation"] };
const written = { othersWritten: true } as const;
const database = { database: true } as const;
const ignorable = { ignorable: true } as const;

/** By PostgreSQL's name of the tree node. What several fields decide is in classify.ts. */
const RULES: Readonly<Record<string, StatementRule>> = {
  SelectStmt: rule("SELECT", "READ", { writes: ["intoClause"] }),
  InsertStmt: rule("INSERT", "WRITE", relation),
  UpdateStmt: rule("UPDATE", "UPDATE", relation),
  DeleteStmt: rule("DELETE", "DELETE", relation),
  MergeStmt: rule("MERGE", "READ", relation),
  CopyStmt: rule("COPY", "READ"),
  TruncateStmt: rule("TRUNCATE", "DELETE", written),

  CreateStmt: rule("CREATE TABLE", "CREATE", relation),
  CreateForeignTableStmt: rule("CREATE FOREIGN TABLE", "CREATE", { writes: ["base"] }),
  CreateTableAsStmt: rule("CREATE TABLE AS", "CREATE", { writes: ["into"] }),
  ViewStmt: rule("CREATE VIEW", "CREATE", { writes: ["view"] }),
  IndexStmt: rule("CREATE INDEX", "CREATE", relation),
  CreateSeqStmt: rule("CREATE SEQUENCE", "CREATE", { writes: ["sequence"] }),
  CreateTrigStmt: rule("CREATE TRIGGER", "CREATE", relation),
  CreatePolicyStmt: rule("CREATE POLICY", "CREATE", { writes: ["table"] }),
  RuleStmt: rule("CREATE RULE", "CREATE", relation),
  CreateFunctionStmt: rule("CREATE FUNCTION", "CREATE", database),
  CompositeTypeStmt: rule("CREATE TYPE", "CREATE", database),
  AlterTableStmt: rule("ALTER TABLE", "UPDATE", written),
  AlterSeqStmt: rule("ALTER SEQUENCE", "UPDATE", { writes: ["sequence"] }),
  RenameStmt: rule("ALTER", "UPDATE", written),
  DropStmt: rule("DROP", "DELETE"),
  GrantStmt: rule("GRANT", "UPDATE", written),
  GrantRoleStmt: rule("GRANT", "UPDATE", database),
  CommentStmt: rule("COMMENT", "UPDATE"),
  SecLabelStmt: rule("SECURITY LABEL", "UPDATE"),
  RefreshMatViewStmt: rule("REFRESH MATERIALIZED VIEW", "UPDATE", relation),
  VacuumStmt: rule("VACUUM", "UPDATE", written),
  ClusterStmt: rule("CLUSTER", "UPDATE", written),
  ReindexStmt: rule("REINDEX", "UPDATE", written),
  ReassignOwnedStmt: rule("REASSIGN OWNED", "UPDATE", database),
  DropOwnedStmt: rule("DROP OWNED", "DELETE", database),

  DoStmt: rule("DO", "EXECUTE", database),
  CallStmt: rule("CALL", "EXECUTE", database),
  ExecuteStmt: rule("EXECUTE", "EXECUTE", database),
  LoadStmt: rule("LOAD", "EXECUTE", database),
  AlterSystemStmt: rule("ALTER SYSTEM", "EXECUTE", database),
  CheckPointStmt: rule("CHECKPOINT", "EXECUTE", database),
  CreateExtensionStmt: rule("CREATE EXTENSION", "EXECUTE", database),
  AlterExtensionStmt: rule("ALTER EXTENSION", "EXECUTE", database),

  PrepareStmt: rule("PREPARE", "READ"),
  ExplainStmt: rule("EXPLAIN", "READ"),
  DeclareCursorStmt: rule("DECLARE", "READ"),
  FetchStmt: rule("FETCH", "READ", database),
  LockStmt: rule("LOCK", "READ"),
  NotifyStmt: rule("NOTIFY", "WRITE", database),
  VariableSetStmt: rule("SET", "UPDATE", database),

  TransactionStmt: rule("TRANSACTION", "READ", ignorable),
  VariableShowStmt: rule("SHOW", "READ", ignorable),
  ConstraintsSetStmt: rule("SET CONSTRAINTS", "READ", ignorable),
  ClosePortalStmt: rule("CLOSE", "READ", ignorable),
  DeallocateStmt: rule("DEALLOCATE", "READ", ignorable),
  DiscardStmt: rule("DISCARD", "READ", ignorable),
  ListenStmt: rule("LISTEN", "READ", ignorable),
  UnlistenStmt: rule("UNLISTEN", "READ", ignorable),
};

/**
 * Settings whose change is recorded although SET is ignored: they change who acts or what the statements after them
 * mean (https://www.postgresql.org/docs/18/runtime-config-client.html).
 */
export const TELLING_SETTINGS: ReadonlySet<string> = new Set([
  "role",
  "session_authorization",
  "search_path",
  "session_replication_role",
  "row_security",
  "standard_conforming_strings",
]);

/** The rule for a kind of node; for kinds that PostgreSQL has and the table has not, by the verb in its name. */
export function ruleFor(kind: string): StatementRule {
  const known = Object.hasOwn(RULES, kind) ? RULES[kind] : undefined;
  if (known !== undefined) return known;
  const operation = kind
    .replace(/Stmt$/, "")
    .replace(/(?<=[a-z])(?=[A-Z])/g, " ")
    .toUpperCase();
  return rule(operation, byVerb(operation), { ...written, ...database });
}

function byVerb(operation: string): AuditAction {
  if (/^(?:CREATE|DEFINE|IMPORT)/.test(operation)) return "CREATE";
  if (operation.startsWith("ALTER")) return "UPDATE";
  return operation.startsWith("DROP") ? "DELETE" : "EXECUTE";
}
