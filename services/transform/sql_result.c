/* From a result row to the derived record.
 *
 * A column named key is the key, one named value the whole value; all others are members of a JSON
 * object. Integers and reals become JSON numbers (the shortest text that reads back as the same
 * double), texts strings, or what they are if they come from a JSON function, blobs base64 strings.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <sqlite3.h>

#include "common/assert.h"
#include "common/base64.h"
#include "common/json.h"

#include "services/transform/sql_internal.h"

enum {
    JSON_SUBTYPE = 'J',
    NUMBER_SIZE_MAX = 40,
    NAME_SIZE_MAX = 200, /* of a column, as CheckTransformResponse has it */
};

/* ---- columns ---- */

static bool is_identifier(const char *name)
{
    if (*name >= '0' && *name <= '9') {
        return false;
    }
    for (const char *p = name; *p != '\0'; p++) {
        bool ok = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || *p == '_' ||
                  (*p >= '0' && *p <= '9') || (*p & 0x80) != 0;
        if (!ok) {
            return false;
        }
    }
    return *name != '\0';
}

static ria_err refuse_name(
    struct sql_engine *engine, const char *name, struct statement_refusal *refusal, const char *text
)
{
    struct ria_slice select = engine->statement.select;
    size_t at = token_find_name(select, name);

    if (at == SIZE_MAX) { /* an expression: its text is its name */
        const void *found = memmem(select.data, select.size, name, strlen(name));
        at = found == NULL ? 0 : (size_t)((const uint8_t *)found - select.data);
    }
    return statement_refuse(
        refusal,
        engine->statement.sql,
        (size_t)(select.data - engine->statement.sql.data) + at,
        "result column \"%.*s\" %s",
        NAME_SIZE_MAX,
        name,
        text
    );
}

/* `SELECT *`, or the same written out. */
static bool is_star(const struct sql_engine *engine)
{
    if (engine->column_count != sql_table_column_count()) {
        return false;
    }
    for (uint32_t i = 0; i < engine->column_count; i++) {
        if (strcmp(engine->columns[i].name, sql_table_column(i)) != 0) {
            return false;
        }
    }
    return true;
}

static ria_err check_names(struct sql_engine *engine, struct statement_refusal *refusal)
{
    for (uint32_t i = 0; i < engine->column_count; i++) {
        const char *name = engine->columns[i].name;
        if (!is_identifier(name) && !token_quoted_exists(engine->statement.select, name)) {
            return refuse_name(engine, name, refusal, "needs a name: write ... AS name");
        }
        if (strlen(name) > NAME_SIZE_MAX) {
            return refuse_name(engine, name, refusal, "has a name of more than 200 bytes");
        }
        for (uint32_t j = 0; j < i; j++) {
            if (strcasecmp(name, engine->columns[j].name) == 0) {
                return refuse_name(engine, name, refusal, "is there twice");
            }
        }
    }
    return RIA_OK;
}

static ria_err assign_roles(struct sql_engine *engine, struct statement_refusal *refusal)
{
    for (uint32_t i = 0; i < engine->column_count; i++) {
        const char *name = engine->columns[i].name;
        if (strcasecmp(name, "key") == 0) {
            engine->columns[i].role = SQL_COLUMN_KEY;
            engine->key_column = (int)i;
        } else if (strcasecmp(name, "value") == 0) {
            engine->columns[i].role = SQL_COLUMN_VALUE;
            engine->value_column = (int)i;
        } else {
            engine->columns[i].role = SQL_COLUMN_FIELD;
        }
    }
    bool star = is_star(engine);
    for (uint32_t i = 0; i < engine->column_count && engine->value_column >= 0; i++) {
        struct sql_column *column = &engine->columns[i];
        if (column->role == SQL_COLUMN_FIELD && !star) {
            return refuse_name(
                engine,
                column->name,
                refusal,
                "has no place: the column value is the whole record, beside it only key is possible"
            );
        }
        if (column->role == SQL_COLUMN_FIELD) {
            column->role = SQL_COLUMN_UNUSED;
        }
    }
    if (engine->column_count == 1 && engine->key_column == 0) {
        return refuse_name(engine, "key", refusal, "is alone: the record would have no value");
    }
    return RIA_OK;
}

/* `{"name":` or `,"name":`. */
static ria_err build_prefix(struct sql_column *column, bool first)
{
    struct ria_buf buf;

    ria_buf_init(&buf, 8 * NAME_SIZE_MAX);
    ria_err err = ria_buf_append_str(&buf, first ? "{" : ",");
    if (err == RIA_OK) {
        err = ria_json_append_string(&buf, ria_slice_cstr(column->name));
    }
    if (err == RIA_OK) {
        err = ria_buf_append_str(&buf, ":");
    }
    if (err != RIA_OK) {
        ria_buf_fini(&buf);
        return err;
    }
    ria_buf_take(&buf, &column->prefix, &column->prefix_size);
    return RIA_OK;
}

ria_err sql_result_describe(struct sql_engine *engine, struct statement_refusal *out_refusal)
{
    int count = sqlite3_column_count(engine->stmt);

    RIA_ASSERT(count > 0 && count <= SQL_COLUMNS_MAX);
    for (int i = 0; i < count; i++) {
        const char *name = sqlite3_column_name(engine->stmt, i);
        char *copy = name == NULL ? NULL : strdup(name);
        if (copy == NULL) {
            return RIA_ERR_NOMEM;
        }
        engine->columns[engine->column_count++].name = copy;
    }
    RIA_TRY(check_names(engine, out_refusal));
    RIA_TRY(assign_roles(engine, out_refusal));
    bool first = true;
    for (uint32_t i = 0; i < engine->column_count; i++) {
        if (engine->columns[i].role == SQL_COLUMN_FIELD) {
            RIA_TRY(build_prefix(&engine->columns[i], first));
            first = false;
        }
    }
    return RIA_OK;
}

/* ---- values ---- */

/* Returns the size. `out` has room for NUMBER_SIZE_MAX bytes. */
static size_t integer_text(char *out, int64_t value)
{
    char digits[NUMBER_SIZE_MAX];
    size_t count = 0;
    size_t size = 0;
    uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;

    do {
        digits[count++] = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (value < 0) {
        out[size++] = '-';
    }
    while (count > 0) {
        out[size++] = digits[--count];
    }
    return size;
}

/* The shortest of 15, 16 or 17 digits that reads back as the same number; always with a point or an
 * exponent, so that it stays a real. Returns the size, 0 for an infinity. */
static size_t real_text(char *out, double value)
{
    int size = 0;

    if (isinf(value) || isnan(value)) {
        return 0;
    }
    for (int digits = 15; digits <= 17; digits++) {
        size = snprintf(out, NUMBER_SIZE_MAX, "%.*g", digits, value);
        if (digits == 17 || strtod(out, NULL) == value) {
            break;
        }
    }
    if (strpbrk(out, ".e") == NULL) {
        out[size++] = '.';
        out[size++] = '0';
    }
    return (size_t)size;
}

static ria_err fail(struct sql_engine *engine, const struct sql_column *column, const char *text)
{
    (void
    )snprintf(engine->reason, sizeof(engine->reason), "column \"%.80s\" %s", column->name, text);
    return RIA_ERR_SQL;
}

static ria_err fail_append(struct sql_engine *engine, const struct sql_column *column, ria_err err)
{
    return fail(
        engine,
        column,
        err == RIA_ERR_LIMIT ? "makes the value larger than a record can be"
                             : "needs too much memory"
    );
}

/* Key or value as they are: text and blob by their bytes, numbers by their text. */
static ria_err
read_bytes(struct sql_engine *engine, int index, struct ria_buf *buf, struct ria_slice *out_bytes)
{
    const struct sql_column *column = &engine->columns[index];
    char number[NUMBER_SIZE_MAX];
    size_t size = 0;
    const void *data = NULL;

    switch (sqlite3_column_type(engine->stmt, index)) {
    case SQLITE_NULL:
        *out_bytes = RIA_SLICE_NULL;
        return RIA_OK;
    case SQLITE_INTEGER:
        size = integer_text(number, sqlite3_column_int64(engine->stmt, index));
        break;
    case SQLITE_FLOAT:
        size = real_text(number, sqlite3_column_double(engine->stmt, index));
        if (size == 0) {
            return fail(engine, column, "is infinite, which no record can hold");
        }
        break;
    default: /* SQLite's numbers, not ours */
        data = sqlite3_column_blob(engine->stmt, index);
        size = (size_t)sqlite3_column_bytes(engine->stmt, index);
        /* No bytes come as NULL. */
        *out_bytes = data == NULL ? RIA_SLICE_EMPTY : ria_slice_of(data, size);
        return RIA_OK;
    }
    ria_buf_clear(buf);
    ria_err err = ria_buf_append(buf, number, size);
    if (err != RIA_OK) {
        return fail_append(engine, column, err);
    }
    *out_bytes = ria_buf_slice(buf);
    return RIA_OK;
}

static ria_err append_base64(struct ria_buf *buf, struct ria_slice bytes)
{
    size_t size = ria_base64_size(bytes.size);

    RIA_TRY(ria_buf_append_str(buf, "\""));
    RIA_TRY(ria_buf_reserve(buf, size + 1));
    ria_base64_encode((char *)buf->data + buf->size, bytes);
    buf->size += size;
    return ria_buf_append_str(buf, "\"");
}

static ria_err append_text(struct sql_engine *engine, int index)
{
    sqlite3_value *value = sqlite3_column_value(engine->stmt, index);
    /* Not column_text, which may need memory for a terminating NUL. */
    const void *text = sqlite3_column_blob(engine->stmt, index);
    size_t size = (size_t)sqlite3_column_bytes(engine->stmt, index);

    if (sqlite3_value_subtype(value) == JSON_SUBTYPE) {
        return ria_buf_append(&engine->value, text, size);
    }
    return ria_json_append_string(&engine->value, ria_slice_of(text, size));
}

static ria_err append_field(struct sql_engine *engine, int index)
{
    const struct sql_column *column = &engine->columns[index];
    struct ria_buf *buf = &engine->value;
    char number[NUMBER_SIZE_MAX];
    size_t size = 0;
    ria_err err = ria_buf_append(buf, column->prefix, column->prefix_size);

    if (err != RIA_OK) {
        return fail_append(engine, column, err);
    }
    switch (sqlite3_column_type(engine->stmt, index)) {
    case SQLITE_INTEGER:
        size = integer_text(number, sqlite3_column_int64(engine->stmt, index));
        err = ria_buf_append(buf, number, size);
        break;
    case SQLITE_FLOAT:
        size = real_text(number, sqlite3_column_double(engine->stmt, index));
        if (size == 0) {
            return fail(engine, column, "is infinite, which JSON cannot say");
        }
        err = ria_buf_append(buf, number, size);
        break;
    case SQLITE_TEXT:
        err = append_text(engine, index);
        break;
    case SQLITE_BLOB: {
        const void *data = sqlite3_column_blob(engine->stmt, index);
        size = (size_t)sqlite3_column_bytes(engine->stmt, index);
        err = append_base64(buf, ria_slice_of(data, size));
        break;
    }
    default:
        err = ria_buf_append_str(buf, "null");
        break;
    }
    return err == RIA_OK ? RIA_OK : fail_append(engine, column, err);
}

static ria_err read_object(struct sql_engine *engine, struct ria_slice *out_value)
{
    ria_buf_clear(&engine->value);
    for (uint32_t i = 0; i < engine->column_count; i++) {
        if (engine->columns[i].role == SQL_COLUMN_FIELD) {
            RIA_TRY(append_field(engine, (int)i));
        }
    }
    ria_err err = ria_buf_append_str(&engine->value, "}");
    if (err != RIA_OK) {
        return fail_append(engine, &engine->columns[engine->column_count - 1], err);
    }
    *out_value = ria_buf_slice(&engine->value);
    return RIA_OK;
}

ria_err sql_result_read(
    struct sql_engine *engine,
    const struct batch_record *input,
    struct ria_slice *out_key,
    struct ria_slice *out_value
)
{
    if (engine->key_column < 0) {
        *out_key = input->key;
    } else {
        RIA_TRY(read_bytes(engine, engine->key_column, &engine->key, out_key));
    }
    if (engine->value_column >= 0) {
        return read_bytes(engine, engine->value_column, &engine->value, out_value);
    }
    return read_object(engine, out_value);
}
