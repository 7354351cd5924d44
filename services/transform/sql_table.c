/* The virtual table: a cursor over an array of records that somebody else owns.
 *
 * It is eponymous: the module's name is the table's name, so no CREATE TABLE is needed and any
 * topic name will do. Nothing is allocated per row, and columns that the SELECT does not use cost
 * nothing: they are built when SQLite asks.
 */
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "common/base64.h"
#include "common/json.h"
#include "common/utf8.h"

#include "services/transform/sql_internal.h"

enum {
    COLUMN_KEY,
    COLUMN_VALUE,
    COLUMN_TIMESTAMP,
    COLUMN_PARTITION,
    COLUMN_OFFSET,
    COLUMN_HEADERS
};

static const char *const column_names[] = {
    "key", "value", "timestamp", "partition", "offset", "headers"};

enum { JSON_SUBTYPE = 'J' };

struct table {
    sqlite3_vtab base;
    struct sql_engine *engine;
};

struct cursor {
    sqlite3_vtab_cursor base;
    struct sql_engine *engine;
};

uint32_t sql_table_column_count(void)
{
    return (uint32_t)RIA_COUNT(column_names);
}

const char *sql_table_column(uint32_t index)
{
    return column_names[index];
}

bool sql_utf8_is_valid(struct ria_slice text)
{
    const uint64_t high_bits = 0x8080808080808080U;
    size_t at = 0;

    while (at < text.size) {
        uint64_t word;
        if (text.size - at >= sizeof(word)) {
            memcpy(&word, text.data + at, sizeof(word));
            if ((word & high_bits) == 0) {
                at += sizeof(word);
                continue;
            }
        }
        size_t size = ria_utf8_sequence(text.data + at, text.size - at);
        if (size == 0) {
            return false;
        }
        at += size;
    }
    return true;
}

/* ---- table ---- */

static int table_connect(
    sqlite3 *db, void *aux, int argc, const char *const *argv, sqlite3_vtab **out_vtab, char **error
)
{
    (void)argc;
    (void)argv;
    (void)error;
    int rc = sqlite3_declare_vtab(
        db,
        "CREATE TABLE topic(key, value, timestamp INTEGER, partition INTEGER, offset INTEGER,"
        " headers TEXT)"
    );
    if (rc != SQLITE_OK) {
        return rc;
    }
    struct table *table = sqlite3_malloc(sizeof(*table));
    if (table == NULL) {
        return SQLITE_NOMEM;
    }
    *table = (struct table){.engine = aux};
    *out_vtab = &table->base;
    return SQLITE_OK;
}

static int table_disconnect(sqlite3_vtab *vtab)
{
    sqlite3_free(RIA_CONTAINER(vtab, struct table, base));
    return SQLITE_OK;
}

/* There is one plan: every row, in order. */
static int table_best_index(sqlite3_vtab *vtab, sqlite3_index_info *info)
{
    (void)vtab;
    info->estimatedCost = 1000000;
    info->estimatedRows = 1000;
    return SQLITE_OK;
}

/* ---- cursor ---- */

static int cursor_open(sqlite3_vtab *vtab, sqlite3_vtab_cursor **out_cursor)
{
    struct cursor *cursor = sqlite3_malloc(sizeof(*cursor));

    if (cursor == NULL) {
        return SQLITE_NOMEM;
    }
    *cursor = (struct cursor){.engine = RIA_CONTAINER(vtab, struct table, base)->engine};
    *out_cursor = &cursor->base;
    return SQLITE_OK;
}

static int cursor_close(sqlite3_vtab_cursor *base)
{
    sqlite3_free(RIA_CONTAINER(base, struct cursor, base));
    return SQLITE_OK;
}

static struct sql_engine *engine_of(sqlite3_vtab_cursor *base)
{
    return RIA_CONTAINER(base, struct cursor, base)->engine;
}

static void row_begin(struct sql_engine *engine, uint32_t at)
{
    engine->cursor.at = at;
    engine->cursor.key_kind = SQL_KIND_UNKNOWN;
    engine->cursor.value_kind = SQL_KIND_UNKNOWN;
    engine->cursor.headers_built = false;
    engine->steps_left = engine->steps_max;
}

static int cursor_filter(
    sqlite3_vtab_cursor *base, int plan, const char *plan_text, int argc, sqlite3_value **argv
)
{
    struct sql_engine *engine = engine_of(base);

    (void)plan;
    (void)plan_text;
    (void)argc;
    (void)argv;
    row_begin(engine, engine->cursor.from);
    return SQLITE_OK;
}

static int cursor_next(sqlite3_vtab_cursor *base)
{
    struct sql_engine *engine = engine_of(base);

    /* A row that the WHERE rejected has not been looked at by sql_engine_run(). */
    if (engine->asked_time) {
        sqlite3_free(base->pVtab->zErrMsg);
        base->pVtab->zErrMsg = sqlite3_mprintf("%s", STATEMENT_REASON_TIME);
        return SQLITE_ERROR;
    }
    row_begin(engine, engine->cursor.at + 1);
    return SQLITE_OK;
}

static int cursor_eof(sqlite3_vtab_cursor *base)
{
    const struct sql_cursor_state *state = &engine_of(base)->cursor;

    return state->at >= state->count;
}

static int cursor_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *out_rowid)
{
    *out_rowid = engine_of(base)->cursor.at;
    return SQLITE_OK;
}

/* ---- columns ---- */

/* The bytes stay where they are: they outlive the statement's run. */
static void result_bytes(sqlite3_context *context, struct ria_slice bytes, sql_kind *kind)
{
    if (*kind == SQL_KIND_UNKNOWN) {
        *kind = ria_slice_is_null(bytes)   ? SQL_KIND_NULL
                : sql_utf8_is_valid(bytes) ? SQL_KIND_TEXT
                                           : SQL_KIND_BLOB;
    }
    switch (*kind) {
    case SQL_KIND_TEXT:
        sqlite3_result_text64(
            context, (const char *)bytes.data, bytes.size, SQLITE_STATIC, SQLITE_UTF8
        );
        break;
    case SQL_KIND_BLOB:
        sqlite3_result_blob64(context, bytes.data, bytes.size, SQLITE_STATIC);
        break;
    case SQL_KIND_NULL:
    case SQL_KIND_UNKNOWN:
        sqlite3_result_null(context);
        break;
    }
}

/* A string, or {"base64":"..."} where the bytes are no text. */
static ria_err append_header_value(struct ria_buf *buf, struct ria_slice value)
{
    if (ria_slice_is_null(value)) {
        return ria_buf_append_str(buf, "null");
    }
    if (sql_utf8_is_valid(value)) {
        return ria_json_append_string(buf, value);
    }
    size_t size = ria_base64_size(value.size);
    RIA_TRY(ria_buf_append_str(buf, "{\"base64\":\""));
    RIA_TRY(ria_buf_reserve(buf, size));
    ria_base64_encode((char *)buf->data + buf->size, value);
    buf->size += size;
    return ria_buf_append_str(buf, "\"}");
}

static ria_err build_headers(struct sql_cursor_state *state)
{
    const struct batch_record *row = &state->rows[state->at];
    struct ria_slice left = row->headers;
    struct ria_buf *buf = &state->headers_json;

    ria_buf_clear(buf);
    RIA_TRY(ria_buf_append_str(buf, "{"));
    for (bool first = true;; first = false) {
        struct batch_record_header header;
        bool more = false;
        RIA_TRY(batch_record_header_next(&left, &header, &more));
        if (!more) {
            break;
        }
        if (!first) {
            RIA_TRY(ria_buf_append_str(buf, ","));
        }
        RIA_TRY(ria_json_append_string(buf, header.name));
        RIA_TRY(ria_buf_append_str(buf, ":"));
        RIA_TRY(append_header_value(buf, header.value));
    }
    RIA_TRY(ria_buf_append_str(buf, "}"));
    state->headers_built = true;
    return RIA_OK;
}

static int result_headers(sqlite3_context *context, struct sql_cursor_state *state)
{
    if (!state->headers_built && build_headers(state) != RIA_OK) {
        sqlite3_result_error(context, "the record's headers cannot be shown as JSON", -1);
        return SQLITE_ERROR;
    }
    sqlite3_result_text64(
        context,
        (const char *)state->headers_json.data,
        state->headers_json.size,
        SQLITE_STATIC,
        SQLITE_UTF8
    );
    sqlite3_result_subtype(context, JSON_SUBTYPE);
    return SQLITE_OK;
}

static int cursor_column(sqlite3_vtab_cursor *base, sqlite3_context *context, int index)
{
    struct sql_cursor_state *state = &engine_of(base)->cursor;
    const struct batch_record *row = &state->rows[state->at];

    switch (index) {
    case COLUMN_KEY:
        result_bytes(context, row->key, &state->key_kind);
        return SQLITE_OK;
    case COLUMN_VALUE:
        result_bytes(context, row->value, &state->value_kind);
        return SQLITE_OK;
    case COLUMN_TIMESTAMP:
        sqlite3_result_int64(context, row->timestamp_ms);
        return SQLITE_OK;
    case COLUMN_PARTITION:
        sqlite3_result_int(context, state->partition);
        return SQLITE_OK;
    case COLUMN_OFFSET:
        sqlite3_result_int64(context, row->offset);
        return SQLITE_OK;
    case COLUMN_HEADERS:
        return result_headers(context, state);
    default:
        return SQLITE_ERROR;
    }
}

/* xCreate is NULL: the table exists by the module's name and cannot be created. */
static const sqlite3_module table_module = {
    .iVersion = 2,
    .xConnect = table_connect,
    .xBestIndex = table_best_index,
    .xDisconnect = table_disconnect,
    .xOpen = cursor_open,
    .xClose = cursor_close,
    .xFilter = cursor_filter,
    .xNext = cursor_next,
    .xEof = cursor_eof,
    .xColumn = cursor_column,
    .xRowid = cursor_rowid,
};

/* The table comes to life when it is first named, which the authorizer takes for a change of the
 * schema: so it is named here, before there is one. */
ria_err sql_table_register(struct sql_engine *engine)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_create_module_v2(engine->db, engine->source, &table_module, engine, NULL);
    char *text = sqlite3_mprintf("SELECT 1 FROM \"%w\"", engine->source);

    if (rc == SQLITE_OK && text != NULL) {
        rc = sqlite3_prepare_v2(engine->db, text, -1, &stmt, NULL);
        (void)sqlite3_finalize(stmt);
    }
    sqlite3_free(text);
    return rc == SQLITE_OK && text != NULL ? RIA_OK : RIA_ERR_NOMEM;
}
