import { AUDIT_ACTION_VALUES, type AuditAction } from "@otel-audit/semantic-conventions";

/**
 * Functions that reach beyond tables or hide what they touch, and so make a statement more than it looks like: a
 * `SELECT` of one of these is not a READ. Matched by name in any schema. Every other function, volatile or not, leaves
 * its statement's action as it is; what a user-defined function does inside the server is not seen.
 *
 * Sources: PostgreSQL 18 manual 9.28 (system administration), 34.4 (large objects), 9.15.3 (xml mapping), appendix F
 * (adminpack, dblink, pg_walinspect, file_fdw).
 */
const BY_ACTION: Readonly<Record<AuditAction, readonly string[]>> = {
  READ: [],
  EXECUTE: [
    // The server's file system.
    "pg_read_file",
    "pg_read_binary_file",
    "pg_ls_dir",
    "pg_ls_logdir",
    "pg_ls_waldir",
    "pg_ls_tmpdir",
    "pg_ls_archive_statusdir",
    "pg_ls_logicalmapdir",
    "pg_ls_logicalsnapdir",
    "pg_ls_replslotdir",
    "pg_ls_summariesdir",
    "pg_stat_file",
    "pg_current_logfile",
    "pg_file_write",
    "pg_file_sync",
    "pg_file_rename",
    "pg_file_unlink",
    "pg_logdir_ls",
    "lo_import",
    "lo_export",
    // Other databases.
    "dblink",
    "dblink_connect",
    "dblink_connect_u",
    "dblink_exec",
    "dblink_open",
    "dblink_fetch",
    "dblink_send_query",
    "dblink_get_result",
    "dblink_build_sql_insert",
    "dblink_build_sql_update",
    "dblink_build_sql_delete",
    // SQL that is a value, and so is not seen.
    "query_to_xml",
    "query_to_xmlschema",
    "query_to_xml_and_xmlschema",
    "cursor_to_xml",
    "cursor_to_xmlschema",
    "table_to_xml",
    "table_to_xml_and_xmlschema",
    "schema_to_xml",
    "schema_to_xml_and_xmlschema",
    "database_to_xml",
    "database_to_xml_and_xmlschema",
    "ts_stat",
    "crosstab",
    "crosstabn",
    "connectby",
    "xpath_table",
    // The server itself.
    "pg_reload_conf",
    "pg_rotate_logfile",
    "pg_terminate_backend",
    "pg_cancel_backend",
    "pg_log_backend_memory_contexts",
    "pg_promote",
    "pg_backup_start",
    "pg_backup_stop",
    "pg_start_backup",
    "pg_stop_backup",
    "pg_switch_wal",
    "pg_create_restore_point",
    "pg_wal_replay_pause",
    "pg_wal_replay_resume",
    "pg_create_physical_replication_slot",
    "pg_create_logical_replication_slot",
    "pg_copy_physical_replication_slot",
    "pg_copy_logical_replication_slot",
    "pg_drop_replication_slot",
    "pg_replication_slot_advance",
    "pg_sync_replication_slots",
    "pg_logical_slot_get_changes",
    "pg_logical_slot_get_binary_changes",
    "pg_logical_slot_peek_changes",
    "pg_logical_slot_peek_binary_changes",
    "pg_replication_origin_create",
    "pg_replication_origin_drop",
    "pg_import_system_collations",
    "pg_stat_reset",
    "pg_extension_config_dump",
  ],
  DELETE: ["lo_unlink", "lo_truncate", "lo_truncate64"],
  UPDATE: ["lo_put", "lowrite", "setval", "set_config"],
  CREATE: ["lo_create", "lo_creat", "lo_from_bytea"],
  WRITE: ["pg_notify", "pg_logical_emit_message"],
};

/** What calling the function is, if it is more than a READ. Names are lower case, without schema. */
export const FUNCTION_ACTIONS: ReadonlyMap<string, AuditAction> = new Map(
  AUDIT_ACTION_VALUES.flatMap((action) => BY_ACTION[action].map((name): [string, AuditAction] => [name, action])),
);
