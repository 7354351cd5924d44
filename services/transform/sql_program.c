/* The last two nets of sql_check.c: what SQLite has made of an accepted text. */
#include <string.h>

#include <sqlite3.h>

#include "services/transform/sql_internal.h"

static const struct opcode {
    const char *name;
    const char *text;
} refused_opcodes[] = {
    {"AggStep", "aggregates are not supported yet: a stream is computed record by record"},
    {"AggStep1", "aggregates are not supported yet: a stream is computed record by record"},
    {"AggFinal", "aggregates are not supported yet: a stream is computed record by record"},
    {"AggValue", "window functions are not supported yet"},
    {"AggInverse", "window functions are not supported yet"},
    {"SorterOpen", "sorting is not supported: records keep the order of their partition"},
    {"Sequence", "sorting is not supported: records keep the order of their partition"},
    {"DecrJumpZero", "LIMIT is not supported: a stream has no end"},
    {"OffsetLimit", "LIMIT is not supported: a stream has no end"},
    {"IfPos", "LIMIT is not supported: a stream has no end"},
    {"InitCoroutine", "a SELECT inside the SELECT is not supported"},
    {"OpenDup", "a SELECT inside the SELECT is not supported"},
    {"OpenPseudo", "a SELECT inside the SELECT is not supported"},
    {"OpenAutoindex", "joins are not supported yet"},
    {"OpenRead", "only the topic can be read"},
    {"OpenWrite", "only the topic can be read"},
    {"ReopenIdx", "only the topic can be read"},
};

static const char *check_opcode(const char *opcode, unsigned *cursors)
{
    if (strcmp(opcode, "VOpen") == 0 && ++*cursors > 1) {
        return "the topic is read twice: joins are not supported yet";
    }
    for (size_t i = 0; i < RIA_COUNT(refused_opcodes); i++) {
        if (strcmp(opcode, refused_opcodes[i].name) == 0) {
            return refused_opcodes[i].text;
        }
    }
    return NULL;
}

ria_err sql_check_program(struct sql_engine *engine, struct statement_refusal *out_refusal)
{
    char *text = sqlite3_mprintf("EXPLAIN %s", (const char *)engine->statement.select.data);
    sqlite3_stmt *explain = NULL;
    const char *why = NULL;
    unsigned cursors = 0;

    if (text == NULL) {
        return RIA_ERR_NOMEM;
    }
    int rc = sqlite3_prepare_v2(engine->db, text, -1, &explain, NULL);
    while (rc == SQLITE_OK && why == NULL && sqlite3_step(explain) == SQLITE_ROW) {
        const char *opcode = (const char *)sqlite3_column_text(explain, 1);
        why = opcode == NULL ? "the statement cannot be explained" : check_opcode(opcode, &cursors);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_finalize(explain);
    }
    sqlite3_free(text);
    if (rc != SQLITE_OK) {
        return sql_check_refuse_as_sqlite(engine, rc, out_refusal);
    }
    if (why == NULL && cursors == 0) {
        why = "the statement does not read its topic";
    }
    if (why != NULL) {
        return statement_refuse(
            out_refusal, engine->statement.sql, sql_check_select_offset(engine), "%s", why
        );
    }
    return RIA_OK;
}

/* SQLite computes constant expressions before the first row: what fails there fails always. */
ria_err sql_check_constants(struct sql_engine *engine, struct statement_refusal *out_refusal)
{
    struct ria_slice sql = engine->statement.sql;

    engine->asked_time = false;
    int rc = sqlite3_step(engine->stmt);
    if (rc != SQLITE_DONE && !engine->asked_time) {
        ria_err err = sql_check_refuse_as_sqlite(engine, rc, out_refusal);
        (void)sqlite3_reset(engine->stmt);
        return err;
    }
    (void)sqlite3_reset(engine->stmt);
    if (engine->asked_time) {
        return statement_refuse(
            out_refusal, sql, sql_check_select_offset(engine), "%s", STATEMENT_REASON_TIME
        );
    }
    return RIA_OK;
}
