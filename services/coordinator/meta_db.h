/* meta_db: the coordinator's SQLite file. Only this file and vfs_db.c know SQLite.
 *
 * Format: docs/formats/meta-db.md. One connection, WAL, synchronous=FULL: what a commit wrote is on
 * disk when it returns. Statements are listed in meta_sql.h and prepared once.
 *
 * Failure: a constraint that refuses a write is an ordinary result. Anything else (disk full, I/O
 * error, no memory, damage) aborts the process: a state machine that skipped a command has forked
 * from its log and must not go on. Starting again finds the last committed group.
 *
 * Thread: the loop's; calls that touch the disk block it.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"
#include "common/log.h"
#include "common/slice.h"
#include "common/uuid.h"

#include "services/coordinator/meta_sql.h"

struct meta_db;

/* A prepared statement between meta_query() and meta_done(). */
struct meta_stmt;

/* Settings of SQLite for the whole process, which works on one thread. Without effect once SQLite
 * is initialised, so whoever calls it first calls this first. */
void meta_db_configure_library(void);

/* Open or create the file at path (":memory:" = a private one without a file) and bring its schema
 * up to date. A new database has no row in `cluster` yet. log is borrowed for the database's life.
 * vfs names a file layer (vfs_db.h), which must allow only one connection; NULL = the operating
 * system's.
 *
 * Errors: RIA_ERR_IO, RIA_ERR_NOMEM, RIA_ERR_CORRUPT (damaged), RIA_ERR_UNSUPPORTED (a newer
 * schema), RIA_ERR_BUSY (locked by another program); reason gets a sentence. */
ria_err meta_db_open(
    const char *path,
    const char *vfs,
    const struct ria_log *log,
    char *reason,
    size_t reason_size,
    struct meta_db **out_db
) RIA_MUST_USE;

/* Leaves the write-ahead log as it is; meta_db_checkpoint() empties it. No transaction may be open.
 * Accepts NULL. */
void meta_db_close(struct meta_db *db);
void meta_db_closep(struct meta_db **db);

/* Move everything from the write-ahead log into the file. For a clean shutdown. */
void meta_db_checkpoint(struct meta_db *db);

/* ---- transactions ---- */

void meta_begin(struct meta_db *db);
void meta_commit(struct meta_db *db);
/* A step inside the transaction that can be undone alone. Steps nest: keep and undo are of the
 * innermost one. */
void meta_savepoint(struct meta_db *db);
void meta_savepoint_keep(struct meta_db *db);
void meta_savepoint_undo(struct meta_db *db);
bool meta_in_transaction(const struct meta_db *db);

/* ---- statements ---- */

/* The statement, reset and without bindings. It may not be in use: finish with meta_done(). */
struct meta_stmt *meta_query(struct meta_db *db, meta_sql sql);

/* position counts from 1, as in ?1. Text, bytes and uuids are copied. A null slice is empty. */
void meta_bind_int(struct meta_stmt *stmt, int position, int64_t value);
void meta_bind_text(struct meta_stmt *stmt, int position, struct ria_slice text);
void meta_bind_blob(struct meta_stmt *stmt, int position, struct ria_slice bytes);
void meta_bind_uuid(struct meta_stmt *stmt, int position, const struct ria_uuid *uuid);

/* True: there is a row. False: there is none (left). */
bool meta_step(struct meta_stmt *stmt);

/* column counts from 0. Slices stay valid until the next step or meta_done(). */
int64_t meta_column_int(struct meta_stmt *stmt, int column);
struct ria_slice meta_column_text(struct meta_stmt *stmt, int column);
struct ria_slice meta_column_blob(struct meta_stmt *stmt, int column);
struct ria_uuid meta_column_uuid(struct meta_stmt *stmt, int column);

void meta_done(struct meta_stmt *stmt);

/* Execute a write and finish it. Errors: RIA_ERR_CONFLICT if a constraint refused it. */
ria_err meta_run(struct meta_stmt *stmt) RIA_MUST_USE;

/* ---- for tests and the divergence check ---- */

/* A hash over every row of every table in primary key order: equal states have equal hashes. */
uint64_t meta_db_hash(struct meta_db *db);

/* For the rule that SELECTs are ordered. */
const char *meta_sql_text(meta_sql sql);
