#include "services/transform/sql_engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "common/assert.h"

#include "services/transform/budget.h"
#include "services/transform/sql_internal.h"

enum {
    STEPS_PER_CHECK = 1000, /* instructions between two calls of the progress handler */

    /* The parser's own bounds, beside RIA_SQL_MAX. */
    SQL_EXPRESSION_DEPTH_MAX = 200,
    SQL_FUNCTION_ARGUMENTS_MAX = 127, /* SQLite's own maximum */
    SQL_LIKE_PATTERN_SIZE_MAX = 1000,
};

/* ---- the sandbox's operating system: no files, no time ---- */

/* SQLite asks for the time through the VFS of the connection. This one has none to give, and takes
 * note: 'now' makes the record fail instead of giving a result that cannot be repeated. */
struct sandbox_vfs {
    sqlite3_vfs base;
    struct sql_engine *engine;
    char name[40];
};

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out)
{
    (void)vfs;
    (void)name;
    (void)flags;
    (void)out;
    file->pMethods = NULL;
    return SQLITE_CANTOPEN;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync_dir)
{
    (void)vfs;
    (void)name;
    (void)sync_dir;
    return SQLITE_IOERR_DELETE;
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *out)
{
    (void)vfs;
    (void)name;
    (void)flags;
    *out = 0;
    return SQLITE_OK;
}

static int vfs_full_pathname(sqlite3_vfs *vfs, const char *name, int size, char *out)
{
    (void)vfs;
    (void)name;
    (void)size;
    (void)out;
    return SQLITE_CANTOPEN;
}

static int vfs_time_i64(sqlite3_vfs *vfs, sqlite3_int64 *out)
{
    RIA_CONTAINER(vfs, struct sandbox_vfs, base)->engine->asked_time = true;
    *out = 0;
    return SQLITE_ERROR;
}

static int vfs_time(sqlite3_vfs *vfs, double *out)
{
    RIA_CONTAINER(vfs, struct sandbox_vfs, base)->engine->asked_time = true;
    *out = 0;
    return SQLITE_ERROR;
}

static struct sandbox_vfs *sandbox_vfs_new(struct sql_engine *engine)
{
    const sqlite3_vfs *real = sqlite3_vfs_find(NULL);
    struct sandbox_vfs *vfs = calloc(1, sizeof(*vfs));

    if (vfs == NULL || real == NULL) {
        free(vfs);
        return NULL;
    }
    vfs->engine = engine;
    (void)snprintf(vfs->name, sizeof(vfs->name), "riacho-%p", (void *)vfs);
    vfs->base = *real; /* randomness and sleep stay: they are not reachable from SQL */
    vfs->base.pNext = NULL;
    vfs->base.zName = vfs->name;
    vfs->base.xOpen = vfs_open;
    vfs->base.xDelete = vfs_delete;
    vfs->base.xAccess = vfs_access;
    vfs->base.xFullPathname = vfs_full_pathname;
    vfs->base.xCurrentTime = vfs_time;
    vfs->base.xCurrentTimeInt64 = vfs_time_i64;
    return vfs;
}

/* ---- the sandbox ---- */

static int spend_steps(void *arg)
{
    struct sql_engine *engine = arg;

    engine->steps_left -= STEPS_PER_CHECK;
    return engine->steps_left <= 0; /* not 0: stop */
}

static void sandbox_limits(sqlite3 *db)
{
    static const struct {
        int id;
        int value;
    } limits[] = {
        {SQLITE_LIMIT_LENGTH, SQL_VALUE_SIZE_MAX},
        {SQLITE_LIMIT_SQL_LENGTH, RIA_SQL_MAX + 64}, /* with "EXPLAIN " in front */
        {SQLITE_LIMIT_COLUMN, SQL_COLUMNS_MAX},
        {SQLITE_LIMIT_EXPR_DEPTH, SQL_EXPRESSION_DEPTH_MAX},
        {SQLITE_LIMIT_COMPOUND_SELECT, 2},
        {SQLITE_LIMIT_FUNCTION_ARG, SQL_FUNCTION_ARGUMENTS_MAX},
        {SQLITE_LIMIT_ATTACHED, 0},
        {SQLITE_LIMIT_LIKE_PATTERN_LENGTH, SQL_LIKE_PATTERN_SIZE_MAX},
        {SQLITE_LIMIT_VARIABLE_NUMBER, 1},
        {SQLITE_LIMIT_TRIGGER_DEPTH, 1},
        {SQLITE_LIMIT_WORKER_THREADS, 0},
    };

    for (size_t i = 0; i < RIA_COUNT(limits); i++) {
        (void)sqlite3_limit(db, limits[i].id, limits[i].value);
    }
}

static ria_err sandbox_config(sqlite3 *db)
{
    static const struct {
        int option;
        int on;
    } options[] = {
        {SQLITE_DBCONFIG_DEFENSIVE, 1},
        {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
        {SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0},
        {SQLITE_DBCONFIG_ENABLE_TRIGGER, 0},
        {SQLITE_DBCONFIG_ENABLE_VIEW, 0},
        {SQLITE_DBCONFIG_DQS_DML, 0}, /* "x" is a name, never a text */
        {SQLITE_DBCONFIG_DQS_DDL, 0},
    };

    for (size_t i = 0; i < RIA_COUNT(options); i++) {
        if (sqlite3_db_config(db, options[i].option, options[i].on, NULL) != SQLITE_OK) {
            return RIA_ERR_UNSUPPORTED;
        }
    }
    return RIA_OK;
}

static ria_err sandbox_open(struct sql_engine *engine)
{
    struct sandbox_vfs *vfs = sandbox_vfs_new(engine);

    if (vfs == NULL) {
        return RIA_ERR_NOMEM;
    }
    engine->vfs = vfs;
    /* The list of VFSs is the process's: it has ours only while the connection is opened. */
    if (sqlite3_vfs_register(&vfs->base, 0) != SQLITE_OK) {
        return RIA_ERR_NOMEM;
    }
    int rc = sqlite3_open_v2(
        ":memory:",
        &engine->db,
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_MEMORY | SQLITE_OPEN_NOMUTEX,
        vfs->name
    );
    (void)sqlite3_vfs_unregister(&vfs->base);
    if (rc != SQLITE_OK) {
        return RIA_ERR_NOMEM;
    }
    sandbox_limits(engine->db);
    sqlite3_progress_handler(engine->db, STEPS_PER_CHECK, spend_steps, engine);
    return sandbox_config(engine->db);
}

/* ---- life ---- */

ria_err sql_engine_new(
    struct ria_slice sql, struct sql_engine **out_engine, struct statement_refusal *out_refusal
)
{
    struct sql_engine *engine = calloc(1, sizeof(*engine));
    ria_err err = RIA_ERR_NOMEM;

    if (engine == NULL) {
        return RIA_ERR_NOMEM;
    }
    engine->key_column = -1;
    engine->value_column = -1;
    engine->steps_max = SQL_STEPS_MAX;
    engine->steps_left = SQL_STEPS_MAX;
    ria_buf_init(&engine->cursor.headers_json, SQL_VALUE_SIZE_MAX);
    ria_buf_init(&engine->key, SQL_VALUE_SIZE_MAX);
    ria_buf_init(&engine->value, SQL_VALUE_SIZE_MAX);
    engine->sql = strndup(sql.size == 0 ? "" : (const char *)sql.data, sql.size);
    if (engine->sql == NULL) {
        goto out;
    }
    /* A NUL in the text cuts the copy: it is refused by its full size. */
    err = statement_split(sql, &engine->statement, out_refusal);
    if (err != RIA_OK) {
        goto out;
    }
    err = statement_split(ria_slice_cstr(engine->sql), &engine->statement, out_refusal);
    if (err != RIA_OK) {
        goto out;
    }
    err = sandbox_open(engine);
    if (err != RIA_OK) {
        goto out;
    }
    err = sql_check_compile(engine, out_refusal);
out:
    if (err != RIA_OK) {
        sql_engine_free(engine);
        return err;
    }
    *out_engine = engine;
    return RIA_OK;
}

void sql_engine_free(struct sql_engine *engine)
{
    if (engine == NULL) {
        return;
    }
    (void)sqlite3_finalize(engine->stmt);
    (void)sqlite3_close(engine->db);
    free(engine->vfs);
    for (uint32_t i = 0; i < engine->column_count; i++) {
        free(engine->columns[i].name);
        free(engine->columns[i].prefix);
    }
    ria_buf_fini(&engine->cursor.headers_json);
    ria_buf_fini(&engine->key);
    ria_buf_fini(&engine->value);
    free(engine->sql);
    free(engine);
}

const char *sql_engine_name(const struct sql_engine *engine)
{
    return engine->statement.name;
}

const char *sql_engine_source(const struct sql_engine *engine)
{
    return engine->source;
}

uint32_t sql_engine_column_count(const struct sql_engine *engine)
{
    return engine->column_count;
}

const char *sql_engine_column(const struct sql_engine *engine, uint32_t index)
{
    RIA_ASSERT(index < engine->column_count);
    return engine->columns[index].name;
}

void sql_engine_set_steps_max(struct sql_engine *engine, int64_t steps)
{
    engine->steps_max = steps;
}

void sql_engine_set_value_size_max(struct sql_engine *engine, int size)
{
    (void)sqlite3_limit(engine->db, SQLITE_LIMIT_LENGTH, size);
}

void sql_engine_limit_process_memory(int64_t bytes)
{
    (void)sqlite3_hard_heap_limit64(bytes);
}

/* ---- running ---- */

static const char *failure_text(struct sql_engine *engine, int rc)
{
    if (engine->asked_time) {
        return STATEMENT_REASON_TIME;
    }
    switch (rc) {
    case SQLITE_INTERRUPT:
        (void)snprintf(
            engine->reason,
            sizeof(engine->reason),
            "the statement takes more than %lld steps for this record",
            (long long)engine->steps_max
        );
        return engine->reason;
    case SQLITE_NOMEM:
        return "the statement needs too much memory for this record";
    case SQLITE_TOOBIG:
        (void)snprintf(
            engine->reason,
            sizeof(engine->reason),
            "a text or blob of more than %d bytes came up",
            SQL_VALUE_SIZE_MAX
        );
        return engine->reason;
    default:
        (void)snprintf(engine->reason, sizeof(engine->reason), "%s", sqlite3_errmsg(engine->db));
        return engine->reason;
    }
}

/* A row of the result is there: give it to the sink. False: stop. */
static bool emit(struct sql_engine *engine, const struct sql_sink *sink, void *arg)
{
    uint32_t at = engine->cursor.at;
    struct ria_slice key;
    struct ria_slice value;

    engine->steps_left = engine->steps_max; /* it must not fail as well */
    ria_err err = sql_result_read(engine, &engine->cursor.rows[at], &key, &value);
    if (engine->asked_time) {
        engine->asked_time = false;
        return sink->failed(arg, at, STATEMENT_REASON_TIME);
    }
    return err == RIA_OK ? sink->record(arg, at, key, value)
                         : sink->failed(arg, at, engine->reason);
}

/* Run the statement from row `from` to the end or the first row that fails or is stopped at.
 * Returns the row to go on with; *out_stopped: not now. */
static uint32_t run_from(
    struct sql_engine *engine,
    uint32_t from,
    const struct sql_sink *sink,
    void *arg,
    bool *out_stopped
)
{
    struct sql_cursor_state *cursor = &engine->cursor;
    int rc = SQLITE_ROW;

    /* An error before the first row (a constant expression fails) is the first row's. */
    cursor->from = from;
    cursor->at = from;
    engine->steps_left = engine->steps_max;
    engine->asked_time = false;
    while (rc == SQLITE_ROW && !*out_stopped) {
        rc = sqlite3_step(engine->stmt);
        if (rc == SQLITE_ROW) {
            *out_stopped = !emit(engine, sink, arg);
        }
    }
    uint32_t next = rc == SQLITE_DONE ? cursor->count : cursor->at;
    if (rc != SQLITE_DONE && rc != SQLITE_ROW) {
        RIA_ASSERT(cursor->at < cursor->count);
        *out_stopped = !sink->failed(arg, cursor->at, failure_text(engine, rc));
        next = *out_stopped ? cursor->at : cursor->at + 1;
    }
    (void)sqlite3_reset(engine->stmt); /* its error is that of the last step */
    return next;
}

uint32_t sql_engine_run(
    struct sql_engine *engine,
    int32_t partition,
    const struct batch_record *rows,
    uint32_t count,
    const struct sql_sink *sink,
    void *arg
)
{
    struct sql_cursor_state *cursor = &engine->cursor;
    uint32_t next = 0;

    cursor->rows = rows;
    cursor->count = count;
    cursor->partition = partition;
    for (bool stopped = false; next < count && !stopped;) {
        next = run_from(engine, next, sink, arg, &stopped);
    }
    cursor->rows = NULL;
    cursor->count = 0;
    budget_keep_small(&engine->key);
    budget_keep_small(&engine->value);
    budget_keep_small(&cursor->headers_json);
    return next;
}
