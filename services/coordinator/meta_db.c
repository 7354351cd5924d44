#include "services/coordinator/meta_db.h"

#include <stdio.h>
#include <stdlib.h>

#include <sqlite3.h>

#include "common/assert.h"
#include "common/map.h"

#include "services/coordinator/migrations.h"

enum {
    META_BUSY_MS = 5000, /* how long somebody's sqlite3 command may hold a lock */
    META_SQL_MAX = 256,
};

struct meta_stmt {
    struct meta_db *db;
    sqlite3_stmt *handle;
    bool in_use;
};

struct meta_db {
    sqlite3 *handle;
    const struct ria_log *log;
    struct meta_stmt stmts[META_SQL_COUNT];
};

#define META_SQL_TEXT_(name, text) text,
static const char *const meta_texts[META_SQL_COUNT] = {META_SQL_TABLE(META_SQL_TEXT_)};

const char *meta_sql_text(meta_sql sql)
{
    RIA_ASSERT((int)sql >= 0 && sql < META_SQL_COUNT);
    return meta_texts[sql];
}

/* ---- errors ---- */

static ria_err err_from_sqlite(int code)
{
    switch (code & 0xff) {
    case SQLITE_OK:
        return RIA_OK;
    case SQLITE_NOMEM:
        return RIA_ERR_NOMEM;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return RIA_ERR_CORRUPT;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return RIA_ERR_BUSY;
    case SQLITE_FULL:
        return RIA_ERR_NO_SPACE;
    case SQLITE_CONSTRAINT:
        return RIA_ERR_CONFLICT;
    default:
        return RIA_ERR_IO;
    }
}

/* Going on would fork the state from the log of commands. */
RIA_NORETURN static void fail_stop(struct meta_db *db, const char *doing)
{
    char quoted[512];
    const char *text = sqlite3_errmsg(db->handle);

    ria_log_error(
        db->log,
        "coordinator.meta_db_failed",
        "doing=%s code=%d err=%s",
        doing,
        sqlite3_extended_errcode(db->handle),
        ria_log_quote(quoted, sizeof(quoted), text, strlen(text))
    );
    abort();
}

/* ---- open and close ---- */

static ria_err execute(struct meta_db *db, const char *sql)
{
    return err_from_sqlite(sqlite3_exec(db->handle, sql, NULL, NULL, NULL));
}

/* The single value of a query, as text. */
static ria_err query_text(struct meta_db *db, const char *sql, char *out, size_t out_size)
{
    sqlite3_stmt *stmt = NULL;
    int code = sqlite3_prepare_v2(db->handle, sql, -1, &stmt, NULL);

    if (code == SQLITE_OK) {
        code = sqlite3_step(stmt);
    }
    if (code == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(stmt, 0);
        (void)snprintf(out, out_size, "%s", text == NULL ? "" : text);
        code = SQLITE_OK;
    }
    (void)sqlite3_finalize(stmt);
    return err_from_sqlite(code);
}

static ria_err schema_version(struct meta_db *db, size_t *out_version)
{
    char text[32] = "0";

    RIA_TRY(query_text(db, "PRAGMA user_version", text, sizeof(text)));
    *out_version = (size_t)strtoul(text, NULL, 10);
    return RIA_OK;
}

static ria_err migrate(struct meta_db *db, size_t from)
{
    char pragma[64];

    for (size_t i = from; i < migrations_count; i++) {
        (void)snprintf(pragma, sizeof(pragma), "PRAGMA user_version = %zu", i + 1);
        RIA_TRY(execute(db, "BEGIN IMMEDIATE"));
        RIA_TRY(execute(db, migrations[i].sql));
        RIA_TRY(execute(db, pragma));
        RIA_TRY(execute(db, "COMMIT"));
    }
    return RIA_OK;
}

static ria_err configure(struct meta_db *db, bool alone)
{
    (void)sqlite3_extended_result_codes(db->handle, 1);
    (void)sqlite3_busy_timeout(db->handle, META_BUSY_MS);
    /* A close must not write: after a simulated crash there is nothing to write to. */
    (void)sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    (void)sqlite3_db_config(db->handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    (void)sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
    if (alone) {
        RIA_TRY(execute(db, "PRAGMA locking_mode = EXCLUSIVE"));
    }
    RIA_TRY(execute(db, "PRAGMA journal_mode = WAL"));
    RIA_TRY(execute(db, "PRAGMA synchronous = FULL"));
    RIA_TRY(execute(db, "PRAGMA temp_store = MEMORY"));
    RIA_TRY(execute(db, "PRAGMA secure_delete = OFF")); /* Debian's default writes more pages */
    return RIA_OK;
}

static ria_err prepare_all(struct meta_db *db)
{
    for (int i = 0; i < META_SQL_COUNT; i++) {
        db->stmts[i].db = db;
        int code = sqlite3_prepare_v3(
            db->handle, meta_texts[i], -1, SQLITE_PREPARE_PERSISTENT, &db->stmts[i].handle, NULL
        );
        RIA_TRY(err_from_sqlite(code));
    }
    return RIA_OK;
}

/* The first thing that is wrong with the file, or "ok". */
static ria_err check_file(struct meta_db *db, char *reason, size_t reason_size)
{
    char verdict[200] = "";
    ria_err err = query_text(db, "PRAGMA quick_check(1)", verdict, sizeof(verdict));

    if (err == RIA_OK && strcmp(verdict, "ok") != 0) {
        (void)snprintf(reason, reason_size, "is damaged (%s): restore it from a copy", verdict);
        return RIA_ERR_CORRUPT;
    }
    return err;
}

static ria_err set_up(struct meta_db *db, bool alone, char *reason, size_t reason_size)
{
    size_t version = 0;

    RIA_TRY(configure(db, alone));
    RIA_TRY(check_file(db, reason, reason_size));
    RIA_TRY(schema_version(db, &version));
    if (version > migrations_count) {
        (void)snprintf(
            reason,
            reason_size,
            "has schema %zu, this program knows up to %zu: start a newer riacho-coordinator",
            version,
            migrations_count
        );
        return RIA_ERR_UNSUPPORTED;
    }
    RIA_TRY(migrate(db, version));
    return prepare_all(db);
}

void meta_db_configure_library(void)
{
    /* Undo data of a savepoint stays in memory: no temporary files that could fail. */
    (void)sqlite3_config(SQLITE_CONFIG_STMTJRNL_SPILL, -1);
    /* Locks at each malloc and page, for nobody: all SQL runs on the loop's thread. */
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    (void)sqlite3_config(SQLITE_CONFIG_SINGLETHREAD);
}

ria_err meta_db_open(
    const char *path,
    const char *vfs,
    const struct ria_log *log,
    char *reason,
    size_t reason_size,
    struct meta_db **out_db
)
{
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;

    RIA_ASSERT(path != NULL);
    RIA_ASSERT(reason_size > 0);

    reason[0] = '\0';
    meta_db_configure_library();
    RIA_CLEANUP(meta_db_closep) struct meta_db *db = calloc(1, sizeof(*db));
    if (db == NULL) {
        return RIA_ERR_NOMEM;
    }
    db->log = log;
    ria_err err = err_from_sqlite(sqlite3_open_v2(path, &db->handle, flags, vfs));
    if (err == RIA_OK) {
        err = set_up(db, vfs != NULL, reason, reason_size);
    }
    if (err != RIA_OK && reason[0] == '\0') {
        (void)snprintf(
            reason,
            reason_size,
            "cannot be used: %s",
            db->handle == NULL ? "out of memory" : sqlite3_errmsg(db->handle)
        );
    }
    if (err != RIA_OK) {
        return err;
    }
    *out_db = RIA_STEAL(&db);
    return RIA_OK;
}

void meta_db_close(struct meta_db *db)
{
    if (db == NULL) {
        return;
    }
    for (int i = 0; i < META_SQL_COUNT; i++) {
        (void)sqlite3_finalize(db->stmts[i].handle);
    }
    int code = sqlite3_close(db->handle);
    RIA_ASSERT(code == SQLITE_OK);
    free(db);
}

void meta_db_closep(struct meta_db **db)
{
    meta_db_close(*db);
    *db = NULL;
}

void meta_db_checkpoint(struct meta_db *db)
{
    /* A reader in somebody's shell may keep part of the log in use: what is left is read back. */
    (void)sqlite3_wal_checkpoint_v2(db->handle, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
}

/* ---- statements ---- */

struct meta_stmt *meta_query(struct meta_db *db, meta_sql sql)
{
    RIA_ASSERT((int)sql >= 0 && sql < META_SQL_COUNT);

    struct meta_stmt *stmt = &db->stmts[sql];
    RIA_ASSERT(!stmt->in_use);
    stmt->in_use = true;
    return stmt;
}

void meta_bind_int(struct meta_stmt *stmt, int position, int64_t value)
{
    int code = sqlite3_bind_int64(stmt->handle, position, value);
    RIA_ASSERT(code == SQLITE_OK);
}

void meta_bind_text(struct meta_stmt *stmt, int position, struct ria_slice text)
{
    const char *data = text.data == NULL ? "" : (const char *)text.data;

    RIA_ASSERT(text.size <= INT32_MAX);
    int code = sqlite3_bind_text(stmt->handle, position, data, (int)text.size, SQLITE_TRANSIENT);
    if (code != SQLITE_OK) {
        fail_stop(stmt->db, "bind");
    }
}

void meta_bind_blob(struct meta_stmt *stmt, int position, struct ria_slice bytes)
{
    const void *data = bytes.data == NULL ? (const void *)"" : bytes.data;

    RIA_ASSERT(bytes.size <= INT32_MAX);
    int code = sqlite3_bind_blob(stmt->handle, position, data, (int)bytes.size, SQLITE_TRANSIENT);
    if (code != SQLITE_OK) {
        fail_stop(stmt->db, "bind");
    }
}

void meta_bind_uuid(struct meta_stmt *stmt, int position, const struct ria_uuid *uuid)
{
    int code = sqlite3_bind_blob(
        stmt->handle, position, uuid->bytes, sizeof(uuid->bytes), SQLITE_TRANSIENT
    );
    if (code != SQLITE_OK) {
        fail_stop(stmt->db, "bind");
    }
}

bool meta_step(struct meta_stmt *stmt)
{
    RIA_ASSERT(stmt->in_use);

    int code = sqlite3_step(stmt->handle);
    if (code != SQLITE_ROW && code != SQLITE_DONE) {
        fail_stop(stmt->db, "read");
    }
    return code == SQLITE_ROW;
}

int64_t meta_column_int(struct meta_stmt *stmt, int column)
{
    return sqlite3_column_int64(stmt->handle, column);
}

struct ria_slice meta_column_text(struct meta_stmt *stmt, int column)
{
    const void *data = sqlite3_column_text(stmt->handle, column);

    if (data == NULL) {
        fail_stop(stmt->db, "column"); /* no column of ours is null: memory is short */
    }
    return ria_slice_of(data, (size_t)sqlite3_column_bytes(stmt->handle, column));
}

struct ria_slice meta_column_blob(struct meta_stmt *stmt, int column)
{
    const void *data = sqlite3_column_blob(stmt->handle, column); /* NULL if it is empty */
    size_t size = (size_t)sqlite3_column_bytes(stmt->handle, column);

    return data == NULL ? RIA_SLICE_EMPTY : ria_slice_of(data, size);
}

struct ria_uuid meta_column_uuid(struct meta_stmt *stmt, int column)
{
    struct ria_uuid uuid;
    const void *data = sqlite3_column_blob(stmt->handle, column);

    RIA_ASSERT(sqlite3_column_bytes(stmt->handle, column) == RIA_UUID_SIZE);
    memcpy(uuid.bytes, data, sizeof(uuid.bytes));
    return uuid;
}

void meta_done(struct meta_stmt *stmt)
{
    RIA_ASSERT(stmt->in_use);
    (void)sqlite3_reset(stmt->handle); /* repeats the error of the last step */
    (void)sqlite3_clear_bindings(stmt->handle);
    stmt->in_use = false;
}

ria_err meta_run(struct meta_stmt *stmt)
{
    RIA_ASSERT(stmt->in_use);

    int code = sqlite3_step(stmt->handle);
    if (code != SQLITE_DONE && (code & 0xff) != SQLITE_CONSTRAINT) {
        fail_stop(stmt->db, "write");
    }
    meta_done(stmt);
    return err_from_sqlite(code == SQLITE_DONE ? SQLITE_OK : code);
}

/* ---- transactions ---- */

static void run_plain(struct meta_db *db, meta_sql sql)
{
    ria_err err = meta_run(meta_query(db, sql));
    RIA_ASSERT(err == RIA_OK);
}

void meta_begin(struct meta_db *db)
{
    run_plain(db, META_BEGIN);
}

void meta_commit(struct meta_db *db)
{
    run_plain(db, META_COMMIT);
}

void meta_savepoint(struct meta_db *db)
{
    run_plain(db, META_SAVEPOINT);
}

void meta_savepoint_keep(struct meta_db *db)
{
    run_plain(db, META_SAVEPOINT_KEEP);
}

void meta_savepoint_undo(struct meta_db *db)
{
    run_plain(db, META_SAVEPOINT_UNDO);
    run_plain(db, META_SAVEPOINT_KEEP);
}

bool meta_in_transaction(const struct meta_db *db)
{
    return sqlite3_get_autocommit(db->handle) == 0;
}

/* ---- hash ---- */

/* Order by every column: unique rows, so no ties, whatever the primary key is. */
static void order_by_all(sqlite3_stmt *table_info, char *out, size_t out_size)
{
    size_t used = 0;

    out[0] = '\0';
    while (sqlite3_step(table_info) == SQLITE_ROW && used < out_size) {
        const char *separator = used == 0 ? "" : ", ";
        const char *column = (const char *)sqlite3_column_text(table_info, 1);
        int n = snprintf(out + used, out_size - used, "%s%s", separator, column);
        used += n > 0 ? (size_t)n : 0;
    }
    RIA_ASSERT(used < out_size);
}

static uint64_t mix(uint64_t hash, const void *data, size_t size)
{
    uint64_t pair[2] = {hash, ria_hash_bytes(data, size)};

    return ria_hash_bytes(pair, sizeof(pair));
}

static uint64_t hash_row(uint64_t hash, sqlite3_stmt *row)
{
    for (int i = 0; i < sqlite3_column_count(row); i++) {
        int type = sqlite3_column_type(row, i);
        const void *data = sqlite3_column_blob(row, i);
        size_t size = (size_t)sqlite3_column_bytes(row, i);

        hash = mix(hash, &type, sizeof(type));
        hash = mix(hash, data == NULL ? "" : data, size);
    }
    return hash;
}

static uint64_t hash_table(struct meta_db *db, uint64_t hash, const char *table)
{
    char columns[META_SQL_MAX];
    char sql[2 * META_SQL_MAX];
    sqlite3_stmt *stmt = NULL;

    (void)snprintf(sql, sizeof(sql), "PRAGMA table_info(%s)", table);
    if (sqlite3_prepare_v2(db->handle, sql, -1, &stmt, NULL) != SQLITE_OK) {
        fail_stop(db, "hash");
    }
    order_by_all(stmt, columns, sizeof(columns));
    (void)sqlite3_finalize(stmt);

    (void)snprintf(sql, sizeof(sql), "SELECT * FROM %s ORDER BY %s", table, columns);
    if (sqlite3_prepare_v2(db->handle, sql, -1, &stmt, NULL) != SQLITE_OK) {
        fail_stop(db, "hash");
    }
    hash = mix(hash, table, strlen(table));
    int code = SQLITE_ROW;
    while ((code = sqlite3_step(stmt)) == SQLITE_ROW) {
        hash = hash_row(hash, stmt);
    }
    if (code != SQLITE_DONE) {
        fail_stop(db, "hash");
    }
    (void)sqlite3_finalize(stmt);
    return hash;
}

uint64_t meta_db_hash(struct meta_db *db)
{
    uint64_t hash = 0;
    sqlite3_stmt *tables = NULL;

    if (sqlite3_prepare_v2(
            db->handle,
            "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name",
            -1,
            &tables,
            NULL
        ) != SQLITE_OK) {
        fail_stop(db, "hash");
    }
    while (sqlite3_step(tables) == SQLITE_ROW) {
        hash = hash_table(db, hash, (const char *)sqlite3_column_text(tables, 0));
    }
    (void)sqlite3_finalize(tables);
    return hash;
}
