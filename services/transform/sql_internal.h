/* sql_internal: what the sql_*.c files share. sqlite3.h stays out of headers.
 *
 *   sql_engine.c    life of an engine, the sandbox, running a batch
 *   sql_check.c     which statements are accepted
 *   sql_program.c   the same, by the program SQLite makes of them
 *   sql_table.c     the virtual table a source topic is
 *   sql_result.c    from a result row to key and value
 */
#pragma once

#include "common/base.h"
#include "common/buf.h"
#include "common/err.h"
#include "common/slice.h"

#include "schemas/batch.h"

#include "services/transform/sql_engine.h"

struct sqlite3;
struct sqlite3_stmt;

typedef enum sql_column_role {
    SQL_COLUMN_KEY,    /* the record's key */
    SQL_COLUMN_VALUE,  /* the record's value, whole */
    SQL_COLUMN_FIELD,  /* a member of the JSON object that is the value */
    SQL_COLUMN_UNUSED, /* of SELECT *, beside value */
} sql_column_role;

struct sql_column {
    char *name;
    sql_column_role role;
    uint8_t *prefix; /* of a field: `{"name":` or `,"name":` */
    size_t prefix_size;
};

/* Bytes of a record as SQLite sees them. */
typedef enum sql_kind {
    SQL_KIND_UNKNOWN, /* not looked at yet */
    SQL_KIND_NULL,
    SQL_KIND_TEXT, /* valid UTF-8 */
    SQL_KIND_BLOB,
} sql_kind;

/* The rows under the cursor. One at a time: a SELECT has one table, once. */
struct sql_cursor_state {
    const struct batch_record *rows;
    uint32_t count;
    uint32_t at;   /* current row; == count at the end */
    uint32_t from; /* first row of this run of the statement */
    int32_t partition;
    sql_kind key_kind; /* of the current row */
    sql_kind value_kind;
    bool headers_built; /* headers_json is the current row's */
    struct ria_buf headers_json;
};

struct sql_engine {
    struct sqlite3 *db;
    struct sqlite3_stmt *stmt;
    void *vfs; /* the sandbox's, see sql_engine.c */
    char *sql;
    struct statement statement; /* points into sql */
    char source[RIA_TOPIC_NAME_MAX + 1];

    struct sql_column columns[SQL_COLUMNS_MAX];
    uint32_t column_count;
    int key_column;   /* -1 = the input's key */
    int value_column; /* -1 = a JSON object of the fields */

    struct sql_cursor_state cursor;
    struct ria_buf key;   /* of the result at hand, if SQLite does not hold it */
    struct ria_buf value; /* likewise */
    char reason[256];

    int64_t steps_max; /* instructions per row */
    int64_t steps_left;
    bool asked_time; /* 'now' was used since this was last cleared */

    /* Only during compilation. */
    char denied[256];      /* why the authorizer said no, "" = it did not */
    char denied_name[128]; /* the name to look for in the text */
    unsigned select_count;
};

/* ---- sql_table.c ---- */

/* Make the engine's source table known under its name. Errors: RIA_ERR_NOMEM. */
ria_err sql_table_register(struct sql_engine *engine) RIA_MUST_USE;

/* Number of columns and their names, for SELECT *. */
uint32_t sql_table_column_count(void);
const char *sql_table_column(uint32_t index);

/* ---- sql_check.c ---- */

/* Prepare engine->stmt from engine->statement and refuse what is not supported. Errors: as
 * sql_engine_new(). */
ria_err
sql_check_compile(struct sql_engine *engine, struct statement_refusal *out_refusal) RIA_MUST_USE;

/* Byte offset of the SELECT in the statement. */
size_t sql_check_select_offset(const struct sql_engine *engine);

/* Refuse with what SQLite said, and its position. Returns RIA_ERR_SQL or RIA_ERR_NOMEM. */
ria_err sql_check_refuse_as_sqlite(
    struct sql_engine *engine, int rc, struct statement_refusal *out_refusal
) RIA_MUST_USE;

/* ---- sql_program.c ---- */

/* The program reads one table, once, row by row. Errors: as sql_engine_new(). */
ria_err
sql_check_program(struct sql_engine *engine, struct statement_refusal *out_refusal) RIA_MUST_USE;

/* Run it over no rows. Errors: as sql_engine_new(). */
ria_err
sql_check_constants(struct sql_engine *engine, struct statement_refusal *out_refusal) RIA_MUST_USE;

/* ---- sql_result.c ---- */

/* Name and role of the result's columns. Errors: as sql_engine_new(). */
ria_err
sql_result_describe(struct sql_engine *engine, struct statement_refusal *out_refusal) RIA_MUST_USE;

/* Key and value of the result row the statement stands on; good until the next step. input: the
 * row it was made from. Errors: RIA_ERR_SQL, with engine->reason. */
ria_err sql_result_read(
    struct sql_engine *engine,
    const struct batch_record *input,
    struct ria_slice *out_key,
    struct ria_slice *out_value
) RIA_MUST_USE;

bool sql_utf8_is_valid(struct ria_slice text);
