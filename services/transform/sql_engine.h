/* sql_engine: one stream's SELECT, compiled by SQLite and run over batches of records.
 *
 * The source topic is a virtual table of the same name with the columns key, value, timestamp,
 * partition, offset and headers (docs/transforms.md); SQLite pulls the rows of a batch out of it
 * and hands back what the SELECT makes of each. There are no other tables, no files, no functions
 * whose result depends on anything but their arguments, and nothing that needs more than one row:
 * so the result for a record is a function of that record alone. Exactly-once rests on this
 * (docs/design/004-exactly-once-transforms.md).
 *
 * sqlite3.h appears in the sql_*.c files only.
 *
 * Pure: no clock, no file, no randomness. Thread: one at a time per engine.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"
#include "common/slice.h"

#include "schemas/batch.h"

#include "services/transform/statement.h"

enum {
    SQL_COLUMNS_MAX = 100,

    /* Longest text or blob, intermediate results included. A record with a longer one fails. */
    SQL_VALUE_SIZE_MAX = RIA_BATCH_SIZE_MAX,

    /* Virtual machine instructions for one record; a usual SELECT takes less than a hundred. A
     * record that needs more fails. */
    SQL_STEPS_MAX = 1000 * 1000,

    /* Memory of all engines of a process, see sql_engine_limit_process_memory(). */
    SQL_MEMORY_MAX = 64 * 1024 * 1024,
};

struct sql_engine;

/* Compile a CREATE STREAM statement. Copies sql. Errors: RIA_ERR_SQL with the refusal;
 * RIA_ERR_NOMEM. */
ria_err sql_engine_new(
    struct ria_slice sql, struct sql_engine **out_engine, struct statement_refusal *out_refusal
) RIA_MUST_USE;

/* Accepts NULL. */
void sql_engine_free(struct sql_engine *engine);

const char *sql_engine_name(const struct sql_engine *engine);   /* of the stream */
const char *sql_engine_source(const struct sql_engine *engine); /* topic it reads */
uint32_t sql_engine_column_count(const struct sql_engine *engine);
const char *sql_engine_column(const struct sql_engine *engine, uint32_t index);

/* What comes of a batch, in order of the rows; each row gives at most one call. Slices are good
 * during the call. False: stop, the row is not done (it will be run again, or never). */
struct sql_sink {
    /* The row passed: the derived record's key (null: none) and value (null: a tombstone). */
    bool (*record)(void *arg, uint32_t row, struct ria_slice key, struct ria_slice value);
    /* The row cannot be processed; reason is a sentence. */
    bool (*failed)(void *arg, uint32_t row, const char *reason);
};

/* Run over rows of one source partition. Borrows everything. Returns how many rows are done: count,
 * or the row at which the sink has stopped it. */
uint32_t sql_engine_run(
    struct sql_engine *engine,
    int32_t partition,
    const struct batch_record *rows,
    uint32_t count,
    const struct sql_sink *sink,
    void *arg
);

/* For tests: another SQL_STEPS_MAX, another SQL_VALUE_SIZE_MAX. */
void sql_engine_set_steps_max(struct sql_engine *engine, int64_t steps);
void sql_engine_set_value_size_max(struct sql_engine *engine, int size);

/* Once per process, at start: bound SQLite's memory (it has one heap for all connections). Where
 * the bound is met the record at hand fails. */
void sql_engine_limit_process_memory(int64_t bytes);
