/* Which SELECTs are accepted: those whose result for a record depends on nothing else.
 *
 * Four nets, because SQLite's parser is not ours to read:
 * 1. the authorizer: reading the source's columns and calling the functions in the list is allowed,
 *    nothing else;
 * 2. the tokens of the text (statement_check_clauses), for the clauses and their positions;
 * 3. the compiled program (sql_program.c): one cursor over the source, no sorter, no aggregate
 * step, no coroutine, no counter of rows;
 * 4. a run over no rows, in which some constant expressions are computed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <sqlite3.h>

#include "common/assert.h"

#include "services/shared/topic_config.h"
#include "services/transform/sql_internal.h"

#define NOT_A_TOPIC  "is not a topic: a stream reads one topic and nothing else"
#define FAILED_TABLE "vtable constructor failed: "

/* ---- functions ---- */

/* Pure functions of their arguments, with the same result on every machine. Left out on purpose:
 * sin, exp, ln, pow... (the last digit is the C library's), jsonb_* (its form may change),
 * random and relatives, everything about the connection (changes, last_insert_rowid, ...) and the
 * build (sqlite_version, ...). The date functions are here, 'now' is caught when it is used. */
static const char *const allowed_functions[] = {
    /* operators that are functions */
    "->",
    "->>",
    "like",
    "glob",
    /* text and values */
    "abs",
    "char",
    "coalesce",
    "concat",
    "concat_ws",
    "format",
    "hex",
    "ifnull",
    "iif",
    "instr",
    "length",
    "likelihood",
    "likely",
    "lower",
    "ltrim",
    "max",
    "min",
    "nullif",
    "octet_length",
    "printf",
    "quote",
    "replace",
    "round",
    "rtrim",
    "sign",
    "substr",
    "substring",
    "trim",
    "typeof",
    "unhex",
    "unicode",
    "unlikely",
    "upper",
    "zeroblob",
    /* numbers; exact in IEEE 754 */
    "ceil",
    "ceiling",
    "floor",
    "mod",
    "sqrt",
    "trunc",
    /* dates */
    "date",
    "datetime",
    "julianday",
    "strftime",
    "time",
    "timediff",
    "unixepoch",
    /* JSON */
    "json",
    "json_array",
    "json_array_length",
    "json_error_position",
    "json_extract",
    "json_insert",
    "json_object",
    "json_patch",
    "json_pretty",
    "json_quote",
    "json_remove",
    "json_replace",
    "json_set",
    "json_type",
    "json_valid"};

static const char *const aggregate_functions[] = {
    "avg",
    "count",
    "group_concat",
    "json_group_array",
    "json_group_object",
    "string_agg",
    "sum",
    "total",
    "median",
    "percentile"};

static const char *const window_functions[] = {
    "row_number",
    "rank",
    "dense_rank",
    "percent_rank",
    "cume_dist",
    "ntile",
    "lag",
    "lead",
    "first_value",
    "last_value",
    "nth_value"};

static bool is_in(const char *name, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcasecmp(name, list[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- the authorizer ---- */

static int deny(struct sql_engine *engine, const char *name, const char *text)
{
    if (engine->denied[0] == '\0') {
        (void)snprintf(engine->denied_name, sizeof(engine->denied_name), "%s", name);
        (void)snprintf(engine->denied, sizeof(engine->denied), "%.60s %s", name, text);
    }
    return SQLITE_DENY;
}

static int authorize_function(struct sql_engine *engine, const char *name)
{
    if (is_in(name, allowed_functions, RIA_COUNT(allowed_functions))) {
        return SQLITE_OK;
    }
    if (is_in(name, aggregate_functions, RIA_COUNT(aggregate_functions))) {
        return deny(
            engine,
            name,
            "is an aggregate: not supported yet, a stream is computed record by record"
        );
    }
    if (is_in(name, window_functions, RIA_COUNT(window_functions))) {
        return deny(
            engine,
            name,
            "is a window function: not supported yet, a stream is computed record by record"
        );
    }
    return deny(
        engine, name, "is not a function that streams may use: see docs/transforms.md for the list"
    );
}

static int authorize_read(struct sql_engine *engine, const char *table, const char *column)
{
    if (strcasecmp(table, engine->source) != 0) {
        return deny(engine, table, NOT_A_TOPIC);
    }
    for (uint32_t i = 0; i < sql_table_column_count(); i++) {
        if (strcasecmp(column, sql_table_column(i)) == 0) {
            return SQLITE_OK;
        }
    }
    /* Empty: the table is read, but none of its columns. */
    return column[0] == '\0' ? SQLITE_OK : deny(engine, column, "is not a column of a topic");
}

static int authorize(
    void *arg, int action, const char *a, const char *b, const char *database, const char *trigger
)
{
    struct sql_engine *engine = arg;

    (void)database;
    (void)trigger;
    switch (action) {
    case SQLITE_SELECT:
        engine->select_count++;
        return SQLITE_OK;
    case SQLITE_READ:
        return authorize_read(engine, a == NULL ? "" : a, b == NULL ? "" : b);
    case SQLITE_FUNCTION:
        return authorize_function(engine, b == NULL ? "" : b);
    case SQLITE_RECURSIVE:
        return deny(engine, "RECURSIVE", "is not supported: a stream has one SELECT");
    default:
        return deny(engine, "the statement", "may only select from one topic");
    }
}

/* ---- compiling ---- */

size_t sql_check_select_offset(const struct sql_engine *engine)
{
    return (size_t)(engine->statement.select.data - engine->statement.sql.data);
}

/* What SQLite said about the text, with its position. */
ria_err
sql_check_refuse_as_sqlite(struct sql_engine *engine, int rc, struct statement_refusal *out_refusal)
{
    struct ria_slice sql = engine->statement.sql;
    struct ria_slice select = engine->statement.select;
    int offset = sqlite3_error_offset(engine->db);
    size_t at = offset < 0 ? SIZE_MAX : (size_t)offset;
    const char *text = sqlite3_errmsg(engine->db);

    if (rc == SQLITE_NOMEM) {
        return RIA_ERR_NOMEM;
    }
    if (engine->denied[0] != '\0') {
        /* A table of SQLite's own, which would have been made now. */
        const char *table = strstr(text, FAILED_TABLE);
        if (table != NULL) {
            engine->denied[0] = '\0';
            (void)deny(engine, table + sizeof(FAILED_TABLE) - 1, NOT_A_TOPIC);
        }
        text = engine->denied;
        if (at == SIZE_MAX) {
            at = token_find_name(select, engine->denied_name);
        }
    }
    if (at == SIZE_MAX && strcmp(text, "incomplete input") == 0) {
        at = select.size;
    }
    const char *hint = "";
    if (strncmp(text, "near \"-\"", 8) == 0) {
        hint = " (a name with a hyphen must be in double quotes)";
    }
    return statement_refuse(
        out_refusal,
        sql,
        sql_check_select_offset(engine) + (at == SIZE_MAX ? 0 : at),
        "%s%s",
        text,
        hint
    );
}

/* SQLite does not know the source when it first reads the text, and says its name. */
static ria_err find_source(struct sql_engine *engine, int rc, struct statement_refusal *out_refusal)
{
    static const char unknown[] = "no such table: ";
    const char *text = sqlite3_errmsg(engine->db);
    const char *name = text + sizeof(unknown) - 1;
    char reason[256];

    if (rc == SQLITE_OK) {
        return statement_refuse(
            out_refusal,
            engine->statement.sql,
            engine->statement.sql.size,
            "FROM is missing: a stream reads one topic"
        );
    }
    if (engine->denied[0] != '\0' || strncmp(text, unknown, sizeof(unknown) - 1) != 0) {
        return sql_check_refuse_as_sqlite(engine, rc, out_refusal);
    }
    if (topic_name_check(ria_slice_cstr(name), reason, sizeof(reason)) != RIA_OK) {
        size_t at = token_find_name(engine->statement.select, name);
        return statement_refuse(
            out_refusal,
            engine->statement.sql,
            sql_check_select_offset(engine) + (at == SIZE_MAX ? 0 : at),
            "name of the topic: %s",
            reason
        );
    }
    RIA_ASSERT(strlen(name) < sizeof(engine->source));
    (void)strcpy(engine->source, name);
    (void)sqlite3_set_authorizer(engine->db, NULL, NULL);
    RIA_TRY(sql_table_register(engine));
    (void)sqlite3_set_authorizer(engine->db, authorize, engine);
    return RIA_OK;
}

static int prepare(struct sql_engine *engine, const char **out_tail)
{
    struct ria_slice select = engine->statement.select;

    (void)sqlite3_finalize(engine->stmt);
    engine->stmt = NULL;
    engine->denied[0] = '\0';
    engine->select_count = 0;
    return sqlite3_prepare_v3(
        engine->db,
        (const char *)select.data,
        (int)select.size + 1, /* with its NUL: no copy */
        SQLITE_PREPARE_PERSISTENT,
        &engine->stmt,
        out_tail
    );
}

/* Only one statement: nothing but semicolons, white space and comments behind it. */
static ria_err
check_tail(struct sql_engine *engine, const char *tail, struct statement_refusal *out_refusal)
{
    struct ria_slice sql = engine->statement.sql;
    struct token_scanner scanner =
        token_scanner_of(sql, (size_t)((const uint8_t *)tail - sql.data));
    struct token token;

    do {
        token = token_next(&scanner);
    } while (token.type == TOKEN_OTHER && sql.data[token.start] == ';');
    if (token.type != TOKEN_END) {
        return statement_refuse(
            out_refusal, sql, token.start, "one statement only: there is something behind its end"
        );
    }
    return RIA_OK;
}

static ria_err compile(struct sql_engine *engine, struct statement_refusal *out_refusal)
{
    const char *tail = NULL;

    RIA_TRY(find_source(engine, prepare(engine, &tail), out_refusal));
    int rc = prepare(engine, &tail);
    if (rc == SQLITE_OK) {
        return check_tail(engine, tail, out_refusal);
    }
    const char *text = sqlite3_errmsg(engine->db);
    if (engine->denied[0] == '\0' && strncmp(text, "no such table: ", 15) == 0) {
        const char *other = text + 15;
        size_t at = token_find_name(engine->statement.select, other);
        bool same = strcmp(other, engine->source) == 0;
        return statement_refuse(
            out_refusal,
            engine->statement.sql,
            sql_check_select_offset(engine) + (at == SIZE_MAX ? 0 : at),
            same ? "%s: a name with a dot must be in double quotes"
                 : "%s: a stream reads one topic, joins are not supported yet",
            other
        );
    }
    return sql_check_refuse_as_sqlite(engine, rc, out_refusal);
}

ria_err sql_check_compile(struct sql_engine *engine, struct statement_refusal *out_refusal)
{
    (void)sqlite3_set_authorizer(engine->db, authorize, engine);
    RIA_TRY(compile(engine, out_refusal));
    RIA_TRY(statement_check_clauses(&engine->statement, out_refusal));
    if (engine->select_count > 1) {
        return statement_refuse(
            out_refusal,
            engine->statement.sql,
            sql_check_select_offset(engine),
            "a SELECT inside the SELECT is not supported"
        );
    }
    if (strcmp(engine->source, engine->statement.name) == 0) {
        return statement_refuse(
            out_refusal,
            engine->statement.sql,
            0,
            "%s cannot be derived from itself",
            engine->source
        );
    }
    RIA_TRY(sql_check_program(engine, out_refusal));
    RIA_TRY(sql_result_describe(engine, out_refusal));
    return sql_check_constants(engine, out_refusal);
}
