/* statement_fuzz: the text up to the first NUL is a statement ("CREATE STREAM s AS " is put in
 * front unless it begins with a C), what follows is the value of a record.
 *
 * Whatever is accepted must give the same result each time, at most one per record and in order:
 * exactly-once rests on that.
 */
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/buf.h"
#include "common/map.h"

#include "services/transform/sql_engine.h"

#define PREFIX "CREATE STREAM s AS "

enum { STEPS_MAX = 100 * 1000, VALUE_SIZE_MAX = 64 * 1024, MEMORY_MAX = 64 * 1024 * 1024 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* All results of a run, as a hash. */
struct run {
    uint64_t hash;
    int64_t last_row;
};

static void mix(struct run *run, uint32_t row, const void *data, size_t size)
{
    RIA_ASSERT((int64_t)row >= run->last_row);
    run->last_row = row;
    run->hash = (run->hash ^ row) * 0x9E3779B97F4A7C15U + ria_hash_bytes(data, size);
}

static bool on_record(void *arg, uint32_t row, struct ria_slice key, struct ria_slice value)
{
    struct run *run = arg;

    RIA_ASSERT((int64_t)row > run->last_row);
    mix(run, row, ria_slice_is_null(key) ? "null" : (const char *)key.data, key.size);
    mix(run, row, ria_slice_is_null(value) ? "null" : (const char *)value.data, value.size);
    return true;
}

static bool on_failed(void *arg, uint32_t row, const char *reason)
{
    RIA_ASSERT((int64_t)row > ((struct run *)arg)->last_row);
    mix(arg, row, reason, strlen(reason));
    return true;
}

static uint64_t run_once(struct sql_engine *engine, struct ria_slice value)
{
    static const struct sql_sink sink = {.record = on_record, .failed = on_failed};
    struct run run = {.hash = 1, .last_row = -1};
    const struct batch_record rows[] = {
        {.offset = 1, .timestamp_ms = 1700000000000, .value = value},
        {.offset = 2, .timestamp_ms = -1, .key = RIA_SLICE_LITERAL("k"), .value = value},
        {.offset = 3, .key = value, .value = RIA_SLICE_LITERAL("{\"a\":1,\"b\":[1.5,null]}")},
        {.offset = 4, .key = RIA_SLICE_LITERAL("\xFF"), .value = RIA_SLICE_NULL},
    };

    uint32_t done = sql_engine_run(engine, 7, rows, RIA_COUNT(rows), &sink, &run);
    RIA_ASSERT(done == RIA_COUNT(rows));
    return run.hash;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct statement_refusal refusal = {.text = ""};
    struct sql_engine *engine = NULL;
    struct ria_buf sql;
    size_t sql_size = strnlen((const char *)data, size);
    struct ria_slice value =
        ria_slice_sub(ria_slice_of(data, size), sql_size + (sql_size < size ? 1 : 0), SIZE_MAX);

    sql_engine_limit_process_memory(MEMORY_MAX);
    ria_buf_init(&sql, 2 * RIA_SQL_MAX);
    ria_err err = RIA_OK;
    if (sql_size == 0 || data[0] != 'C') {
        err = ria_buf_append_str(&sql, PREFIX);
    }
    if (err == RIA_OK) {
        err = ria_buf_append(&sql, data, sql_size);
    }
    if (err == RIA_OK) {
        err = sql_engine_new(ria_buf_slice(&sql), &engine, &refusal);
        RIA_ASSERT((err == RIA_ERR_SQL) == (refusal.text[0] != '\0'));
    }
    if (err == RIA_OK) {
        sql_engine_set_steps_max(engine, STEPS_MAX);
        sql_engine_set_value_size_max(engine, VALUE_SIZE_MAX);
        uint64_t first = run_once(engine, value);
        RIA_ASSERT(run_once(engine, value) == first);
        sql_engine_free(engine);
    }
    ria_buf_fini(&sql);
    return 0;
}
