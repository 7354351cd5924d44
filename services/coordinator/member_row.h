/* member_row: rows of `group_members` and `group_subscriptions`, read and written.
 *
 * Text is copied into the arena that is given. Format: docs/formats/meta-db.md. Thread: the loop's.
 */
#pragma once

#include "common/arena.h"
#include "common/base.h"
#include "common/err.h"
#include "common/slice.h"
#include "common/uuid.h"

#include "services/coordinator/meta_db.h"

typedef enum member_kind { MEMBER_NAMED = 0, MEMBER_MADE = 1 } member_kind;

/* In group_subscriptions: all partitions of the topic, divided by the plan. */
enum { SUBSCRIPTION_PLANNED = -1 };

struct member_row {
    struct ria_slice name; /* borrowed from who asked for it */
    member_kind kind;
    int32_t epoch;
    int64_t session_ms;
    int64_t deadline;
    bool chosen;
};

/* False: there is none. */
bool member_row_read(
    struct meta_db *db, int64_t group_id, struct ria_slice name, struct member_row *out_row
);

/* With the detail empty. */
ria_err
member_row_insert(struct meta_db *db, int64_t group_id, const struct member_row *row) RIA_MUST_USE;

/* Everything but the detail. */
ria_err
member_row_write(struct meta_db *db, int64_t group_id, const struct member_row *row) RIA_MUST_USE;

/* The row and its subscriptions. */
ria_err member_row_delete(struct meta_db *db, int64_t group_id, struct ria_slice name) RIA_MUST_USE;

/* Of a member that is there. Errors: those of the arena. */
ria_err member_detail_read(
    struct meta_db *db,
    int64_t group_id,
    struct ria_slice name,
    struct ria_arena *arena,
    struct ria_slice *out_detail
) RIA_MUST_USE;
ria_err member_detail_write(
    struct meta_db *db, int64_t group_id, struct ria_slice name, struct ria_slice detail
) RIA_MUST_USE;

/* Names of those whose session has ended at now_ms. Errors: those of the arena. */
ria_err members_expired(
    struct meta_db *db,
    int64_t group_id,
    int64_t now_ms,
    struct ria_arena *arena,
    struct ria_slice **out_names,
    uint32_t *out_count
) RIA_MUST_USE;

/* The earliest deadline of another member than name; INT64_MAX: there is none. */
int64_t members_next_deadline(struct meta_db *db, int64_t group_id, struct ria_slice name);

struct subscription_row {
    struct ria_uuid topic_id;
    int32_t partition; /* SUBSCRIPTION_PLANNED, or one that the member chose */
};

/* Ascending by topic and partition. Errors: those of the arena. */
ria_err subscriptions_read(
    struct meta_db *db,
    int64_t group_id,
    struct ria_slice name,
    struct ria_arena *arena,
    struct subscription_row **out_rows,
    uint32_t *out_count
) RIA_MUST_USE;

/* Replace what the member has. The same row twice is RIA_ERR_CONFLICT. */
ria_err subscriptions_write(
    struct meta_db *db,
    int64_t group_id,
    struct ria_slice name,
    const struct subscription_row *rows,
    uint32_t count
) RIA_MUST_USE;
