import { exception } from "./exception.ts";
import { identifier, isSymbol, stringLiteral } from "./sql-tokens.ts";
import type { Token } from "./sql-tokens.ts";
import type { Role } from "./settings.ts";

interface RunningStatement {
  readonly role: Role;
  readonly kind: "Insert" | "Select";
  readonly query: string;
  readonly since: number;
}

/**
 * The statements that this server has taken and not finished, by their query id.
 *
 * chDB gives every query an id of its own making, so the engine's `system.processes` cannot answer what the writer asks
 * before it repeats an insert: is the earlier one still under way? This can, and it also knows an insert that still waits for
 * its turn. A statement stays here until the engine is done with it, whatever became of its client.
 */
export class RunningStatements {
  readonly #statements = new Map<string, RunningStatement>();

  /** @throws ClickHouseError 216 when the id is in use. */
  add(queryId: string, statement: Omit<RunningStatement, "since">): void {
    if (this.#statements.has(queryId)) {
      throw exception("QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING", `Query with id = ${queryId} is already running`);
    }
    this.#statements.set(queryId, { ...statement, since: Date.now() });
  }

  remove(queryId: string): void {
    this.#statements.delete(queryId);
  }

  list(): { queryId: string; kind: "Insert" | "Select" }[] {
    return [...this.#statements].map(([queryId, { kind }]) => ({ queryId, kind }));
  }

  /** Puts this list in the place of `system.processes` in a statement of the writer's. */
  rewrite(sql: string, tokens: readonly Token[]): string {
    let rewritten = "";
    let copied = 0;
    for (const [index, token] of tokens.entries()) {
      const table = tokens[index + 2];
      if (identifier(token) !== "system" || !isSymbol(tokens[index + 1], ".") || table?.text !== "processes") continue;
      rewritten += sql.slice(copied, token.start) + this.#toSql();
      copied = table.end;
    }
    return rewritten + sql.slice(copied);
  }

  #toSql(): string {
    const rows = [...this.#statements].map(([id, { role, kind, query, since }]) => {
      const elapsed = (Date.now() - since) / 1000;
      return `(${stringLiteral(id)}, ${stringLiteral(role)}, ${elapsed}, ${stringLiteral(kind)}, ${stringLiteral(query)}, 1)`;
    });
    const structure =
      "query_id String, user String, elapsed Float64, query_kind String, query String, is_initial_query UInt8";
    const none = "('', '', 0, '', '', 0)";
    return rows.length > 0
      ? `(SELECT * FROM values('${structure}', ${rows.join(", ")}))`
      : `(SELECT * FROM values('${structure}', ${none}) WHERE 0)`;
  }
}
