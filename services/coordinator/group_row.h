/* group_row: rows of `consumer_groups` and `group_partitions`, read and written, and the counters
 * of all groups in `cluster`.
 *
 * Text is copied into the arena that is given. A partition's metadata stays in the database:
 * reading tells whether there is any, and group_partition_write() leaves it alone.
 *
 * Format: docs/formats/meta-db.md. Thread: the loop's.
 */
#pragma once

#include "common/arena.h"
#include "common/base.h"
#include "common/err.h"
#include "common/slice.h"
#include "common/uuid.h"

#include "services/coordinator/meta_db.h"

enum { GROUP_RETRIES_MAX = 32 }; /* delays in a queue's schedule */

typedef enum group_mode { GROUP_STREAM = 0, GROUP_QUEUE = 1 } group_mode;

/* Deadline of a lease that is held: it ends with its member. */
#define GROUP_HELD INT64_MAX

struct group_counters {
    int64_t lease_ms;
    int64_t next_group_id;
    int64_t group_count;
    int64_t lease_floor; /* above every lease id and change number of deleted groups */
};

void group_counters_read(struct meta_db *db, struct group_counters *out_counters);
ria_err
group_counters_write(struct meta_db *db, const struct group_counters *counters) RIA_MUST_USE;

struct group_row {
    int64_t id;
    struct ria_slice name;
    group_mode mode;
    int64_t created_ms;
    int64_t next_lease;
    int64_t generation;
    int64_t changed;
    int64_t member_count;
    int64_t lock_ms; /* from here on: queues' settings */
    int64_t deliveries_max;
    bool key_order;
    struct ria_slice retry_ms;
    struct ria_slice dead_topic;
};

/* Take over the row that a statement of META_GROUP_COLUMNS_ is at. Errors: those of the arena. */
ria_err group_row_take(struct meta_stmt *stmt, struct ria_arena *arena, struct group_row *out_row)
    RIA_MUST_USE;

/* RIA_ERR_NOT_FOUND: there is none. Errors: those of the arena. */
ria_err group_row_read(
    struct meta_db *db, struct ria_slice name, struct ria_arena *arena, struct group_row *out_row
) RIA_MUST_USE;

/* Everything. */
ria_err group_row_insert(struct meta_db *db, const struct group_row *row) RIA_MUST_USE;

/* next_lease, generation, changed and member_count. */
ria_err group_row_write(struct meta_db *db, const struct group_row *row) RIA_MUST_USE;

/* lock_ms and what follows it. */
ria_err group_row_write_settings(struct meta_db *db, const struct group_row *row) RIA_MUST_USE;

/* The delays of retry_ms, which only QueueOpen writes; how many there are. */
uint32_t group_row_retries(const struct group_row *row, uint32_t out_delays_ms[GROUP_RETRIES_MAX]);

/* An id for a new lease. */
int64_t group_row_next_lease(struct group_row *row);

struct group_partition {
    struct ria_uuid topic_id;
    int32_t partition;
    bool stored;  /* there is a row */
    bool touched; /* for the caller: to be written */
    bool freed;   /* for the caller: a lease that was out was given back */
    int64_t position;
    int64_t committed_ms;
    bool has_metadata;
    struct ria_slice member;
    int64_t lease_id;
    struct ria_slice holder;
    int64_t deadline;
    int64_t next;
    int64_t frontier;
    int64_t unsettled;
    int64_t row_count;
    bool metadata_set; /* metadata is to be written */
    struct ria_slice metadata;
};

/* One that has no row: without position, lease and member. */
struct group_partition group_partition_none(const struct ria_uuid *topic_id, int32_t partition);

/* group_partition_none() if there is no row. Errors: those of the arena. */
ria_err group_partition_read(
    struct meta_db *db,
    int64_t group_id,
    const struct ria_uuid *topic_id,
    int32_t partition,
    struct ria_arena *arena,
    struct group_partition *out_row
) RIA_MUST_USE;

/* All partitions of a topic that has count of them, by number: out_rows has room for them. Errors:
 * those of the arena; then out_rows is undefined. */
ria_err group_partitions_read(
    struct meta_db *db,
    int64_t group_id,
    const struct ria_uuid *topic_id,
    int32_t count,
    struct ria_arena *arena,
    struct group_partition *out_rows
) RIA_MUST_USE;

/* Take over the row that a statement of META_GROUP_PARTITION_COLUMNS_ is at. Errors: those of the
 * arena. */
ria_err group_partition_take(
    struct meta_stmt *stmt, struct ria_arena *arena, struct group_partition *out_row
) RIA_MUST_USE;

/* Insert or update; afterwards it is stored and not touched. */
ria_err group_partition_write(struct meta_db *db, int64_t group_id, struct group_partition *row)
    RIA_MUST_USE;

/* The rest of a statement of META_GROUP_PARTITION_COLUMNS_, whose parameters are bound; finishes
 * it. Errors: those of the arena. */
ria_err group_partitions_take(
    struct meta_stmt *stmt,
    struct ria_arena *arena,
    struct group_partition **out_rows,
    uint32_t *out_count
) RIA_MUST_USE;
