/* DescribeGroups: which groups there are; of one, who has what. */
#include "common/assert.h"
#include "common/limits.h"

#include "schemas/gen/describe_groups_request.h"
#include "schemas/gen/describe_groups_response.h"

#include "services/coordinator/coordinator.h"
#include "services/coordinator/group_row.h"
#include "services/coordinator/rows.h"

enum {
    RESPONSE_SIZE_MAX = RIA_FRAME_SIZE_MAX - 4096,
    LIMIT_MAX = 10000,
    RANGES_MAX = 10000, /* a few milliseconds */
};

typedef struct describe_groups_response_described_group group_entry;
typedef struct describe_groups_response_described_group_member member_entry;
typedef struct describe_groups_response_described_group_partition partition_entry;

/* What every part of an answer needs. */
struct describing {
    struct coordinator *coordinator;
    struct ria_arena *arena;
    int64_t now_ms;      /* lease clock */
    int64_t ranges_left; /* rows of queues that may be looked at */
};

/* ---- a group ---- */

static ria_err
read_retries(struct describing *describing, const struct group_row *row, group_entry *entry)
{
    entry->retry_ms =
        ria_arena_alloc_array(describing->arena, GROUP_RETRIES_MAX, sizeof(*entry->retry_ms));
    if (entry->retry_ms == NULL) {
        return ria_arena_err(describing->arena);
    }
    entry->retry_ms_count = group_row_retries(row, entry->retry_ms);
    return RIA_OK;
}

static ria_err
fill_group(struct describing *describing, const struct group_row *row, group_entry *entry)
{
    struct meta_stmt *stmt = meta_query(describing->coordinator->db, META_GROUP_MEMBERS_LIVING);

    meta_bind_int(stmt, 1, row->id);
    meta_bind_int(stmt, 2, describing->now_ms);
    entry->member_count = meta_step(stmt) ? (int32_t)meta_column_int(stmt, 0) : 0;
    meta_done(stmt);
    entry->group = row->name;
    entry->mode = (int8_t)row->mode;
    entry->created_ms = row->created_ms;
    entry->changed = row->changed;
    entry->generation = row->generation;
    entry->lock_ms = (int32_t)row->lock_ms;
    entry->deliveries_max = (int32_t)row->deliveries_max;
    entry->key_order = row->key_order;
    entry->dead_topic = row->dead_topic;
    return read_retries(describing, row, entry);
}

/* ---- members ---- */

static bool add_member(struct describing *describing, struct meta_stmt *stmt, struct rows *rows)
{
    member_entry *entry = rows_add(rows);

    if (entry == NULL) {
        return false;
    }
    entry->kind = (int8_t)meta_column_int(stmt, 1);
    entry->epoch = (int32_t)meta_column_int(stmt, 2);
    entry->session_ms = (int32_t)meta_column_int(stmt, 3);
    entry->left_ms = meta_column_int(stmt, 4) - describing->now_ms;
    entry->chosen = meta_column_int(stmt, 5) != 0;
    return rows_copy_text(rows->arena, meta_column_text(stmt, 0), &entry->name) &&
           rows_copy_text(rows->arena, meta_column_blob(stmt, 6), &entry->detail);
}

static ria_err read_topics(struct describing *describing, int64_t group_id, member_entry *member)
{
    bool ok = true;
    struct rows rows = rows_of(describing->arena, sizeof(struct ria_uuid));
    struct meta_stmt *stmt = meta_query(describing->coordinator->db, META_GROUP_MEMBER_TOPICS);

    meta_bind_int(stmt, 1, group_id);
    meta_bind_text(stmt, 2, member->name);
    /* One that chose its partitions may have more topics than fit: those are shown by what it
     * leases. */
    while (ok && rows.count < 64 && meta_step(stmt)) {
        struct ria_uuid *topic = rows_add(&rows);
        ok = topic != NULL;
        if (ok) {
            *topic = meta_column_uuid(stmt, 0);
        }
    }
    meta_done(stmt);
    member->topics = rows.items;
    member->topics_count = rows.count;
    return ok ? RIA_OK : ria_arena_err(describing->arena);
}

static ria_err read_members(struct describing *describing, int64_t group_id, group_entry *entry)
{
    bool ok = true;
    struct rows rows = rows_of(describing->arena, sizeof(member_entry));
    struct meta_stmt *stmt = meta_query(describing->coordinator->db, META_GROUP_MEMBERS_LISTED);

    meta_bind_int(stmt, 1, group_id);
    meta_bind_int(stmt, 2, describing->now_ms);
    while (ok && meta_step(stmt)) {
        ok = add_member(describing, stmt, &rows);
    }
    meta_done(stmt);
    entry->members = rows.items;
    entry->members_count = rows.count;
    for (uint32_t i = 0; ok && i < rows.count; i++) {
        RIA_TRY(read_topics(describing, group_id, &entry->members[i]));
    }
    return ok ? RIA_OK : ria_arena_err(describing->arena);
}

/* ---- partitions ---- */

/* A held lease ends with its holder's session. */
static void
fill_lease(struct describing *describing, struct meta_stmt *stmt, partition_entry *entry)
{
    int64_t deadline = meta_column_int(stmt, 8);

    entry->lease_id = meta_column_int(stmt, 6);
    entry->next = deadline == GROUP_HELD ? meta_column_int(stmt, 9) : -1;
    if (entry->lease_id != 0) {
        deadline = deadline == GROUP_HELD ? meta_column_int(stmt, 11) : deadline;
        entry->lease_left_ms = deadline - describing->now_ms;
    }
}

/* The rows of a partition, and how many records they say are leased. */
struct queue_space {
    int64_t id;
    int64_t leased;
};

static bool add_space(struct meta_stmt *stmt, struct rows *spaces)
{
    struct queue_space *space = rows_add(spaces);

    if (space != NULL) {
        space->id = meta_column_int(stmt, 14);
        space->leased = meta_column_int(stmt, 15);
    }
    return space != NULL;
}

static void
fill_queue(struct describing *describing, struct meta_stmt *stmt, partition_entry *entry)
{
    bool unsettled = meta_column_int(stmt, 12) != 0;

    entry->frontier = meta_column_int(stmt, 10);
    entry->discarded = meta_column_int(stmt, 13);
    entry->leased = meta_column_int(stmt, 15);
    entry->waiting = meta_column_int(stmt, 16);
    entry->dead = meta_column_int(stmt, 17);
    entry->held = meta_column_int(stmt, 18);
    entry->done = entry->frontier - entry->position - entry->leased - entry->waiting - entry->dead;
    /* The lease that is not settled has no rows. */
    if (unsettled && meta_column_int(stmt, 8) > describing->now_ms) {
        entry->leased += meta_column_int(stmt, 9) - entry->frontier;
    }
}

static bool
add_partition(struct describing *describing, struct meta_stmt *stmt, struct rows *rows, bool queue)
{
    partition_entry *entry = rows_add(rows);

    if (entry == NULL) {
        return false;
    }
    entry->topic_id = meta_column_uuid(stmt, 0);
    entry->partition = (int32_t)meta_column_int(stmt, 1);
    entry->position = meta_column_int(stmt, 2);
    entry->committed_ms = meta_column_int(stmt, 3);
    entry->frontier = -1;
    fill_lease(describing, stmt, entry);
    if (queue) {
        fill_queue(describing, stmt, entry);
    }
    return rows_copy_text(rows->arena, meta_column_text(stmt, 4), &entry->metadata) &&
           rows_copy_text(rows->arena, meta_column_text(stmt, 5), &entry->member) &&
           rows_copy_text(rows->arena, meta_column_text(stmt, 7), &entry->holder);
}

/* Leases that are over and whose rows do not say so yet, are waiting. Those that will be ready
 * first are looked at: of a queue with more than RANGES_MAX rows that are leased or have a time,
 * the sums may be of what the rows say. */
static void count_overdue(
    struct describing *describing, const struct queue_space *space, partition_entry *entry
)
{
    struct meta_stmt *stmt = meta_query(describing->coordinator->db, META_RANGES_OVERDUE);

    meta_bind_int(stmt, 1, space->id);
    meta_bind_uuid(stmt, 2, &entry->topic_id);
    meta_bind_int(stmt, 3, entry->partition);
    meta_bind_int(stmt, 4, describing->now_ms);
    meta_bind_int(stmt, 5, describing->ranges_left);
    bool found = meta_step(stmt);
    RIA_ASSERT(found);
    int64_t overdue = meta_column_int(stmt, 0);
    describing->ranges_left -= meta_column_int(stmt, 1);
    meta_done(stmt);
    RIA_ASSERT(overdue <= space->leased);
    entry->leased -= overdue;
    entry->waiting += overdue;
}

static ria_err read_partitions(struct describing *describing, int64_t group_id, group_entry *entry)
{
    bool ok = true;
    bool queue = entry->mode == GROUP_QUEUE;
    struct rows rows = rows_of(describing->arena, sizeof(partition_entry));
    struct rows spaces = rows_of(describing->arena, sizeof(struct queue_space));
    struct meta_stmt *stmt = meta_query(describing->coordinator->db, META_GROUP_PARTITIONS_LISTED);

    meta_bind_int(stmt, 1, group_id);
    while (ok && meta_step(stmt)) {
        ok = add_partition(describing, stmt, &rows, queue) && (!queue || add_space(stmt, &spaces));
    }
    meta_done(stmt);
    entry->partitions = rows.items;
    entry->partitions_count = rows.count;
    for (uint32_t i = 0; ok && i < spaces.count && describing->ranges_left > 0; i++) {
        const struct queue_space *space = &((const struct queue_space *)spaces.items)[i];
        if (space->leased > 0) {
            count_overdue(describing, space, &entry->partitions[i]);
        }
    }
    return ok ? RIA_OK : ria_arena_err(describing->arena);
}

/* ---- the answer ---- */

static ria_err describe_one(
    struct describing *describing, struct ria_slice name, struct describe_groups_response *out
)
{
    struct group_row row;
    group_entry *entry = ria_arena_alloc(describing->arena, sizeof(*entry));

    if (entry == NULL) {
        return ria_arena_err(describing->arena);
    }
    RIA_TRY(group_row_read(describing->coordinator->db, name, describing->arena, &row));
    describe_groups_response_described_group_init(entry);
    RIA_TRY(fill_group(describing, &row, entry));
    RIA_TRY(read_members(describing, row.id, entry));
    RIA_TRY(read_partitions(describing, row.id, entry));
    out->groups = entry;
    out->groups_count = 1;
    return RIA_OK;
}

static ria_err list(
    struct describing *describing,
    const struct describe_groups_request *request,
    struct describe_groups_response *out
)
{
    ria_err err = RIA_OK;
    uint32_t limit = (uint32_t)ria_min_i64(ria_max_i64(request->limit, 1), LIMIT_MAX);
    struct rows rows = rows_of(describing->arena, sizeof(struct group_row));
    struct meta_stmt *stmt = meta_query(describing->coordinator->db, META_GROUPS_LISTED);

    meta_bind_text(stmt, 1, request->after);
    meta_bind_int(stmt, 2, (int64_t)limit + 1);
    while (err == RIA_OK && meta_step(stmt)) {
        struct group_row *row = rows_add(&rows);
        err = row == NULL ? ria_arena_err(describing->arena)
                          : group_row_take(stmt, describing->arena, row);
    }
    meta_done(stmt);
    RIA_TRY(err);
    out->more = rows.count > limit;
    out->groups_count = out->more ? limit : rows.count;
    out->groups = ria_arena_alloc_array(describing->arena, out->groups_count, sizeof(group_entry));
    if (out->groups == NULL) {
        return ria_arena_err(describing->arena);
    }
    for (uint32_t i = 0; i < out->groups_count; i++) {
        describe_groups_response_described_group_init(&out->groups[i]);
        RIA_TRY(fill_group(describing, (const struct group_row *)rows.items + i, &out->groups[i]));
    }
    return RIA_OK;
}

static ria_err check_size(const struct describe_groups_response *response)
{
    for (uint32_t i = 0; i < response->groups_count; i++) {
        if (response->groups[i].partitions_count > 100000) {
            return RIA_ERR_TOO_LARGE;
        }
    }
    return describe_groups_response_size(response, DESCRIBE_GROUPS_RESPONSE_VERSION_MAX) >
                   RESPONSE_SIZE_MAX
               ? RIA_ERR_TOO_LARGE
               : RIA_OK;
}

void handle_describe_groups(struct coordinator *coordinator, const struct coordinator_call *call)
{
    struct describe_groups_request request;
    struct describe_groups_response response;
    struct describing describing = {
        .coordinator = coordinator,
        .arena = &coordinator->arena,
        .now_ms = lease_clock_ms(&coordinator->lease_clock),
        .ranges_left = RANGES_MAX,
    };

    if (!coordinator_decode(coordinator, call, &request)) {
        return;
    }
    describe_groups_response_init(&response);
    ria_err err = request.name.size > 0 ? describe_one(&describing, request.name, &response)
                                        : list(&describing, &request, &response);
    if (err == RIA_OK) {
        err = check_size(&response);
    }
    if (err == RIA_OK) {
        coordinator_reply(coordinator, call, &response);
    } else if (err == RIA_ERR_NOT_FOUND) {
        coordinator_refuse(
            coordinator,
            call,
            err,
            "group \"" RIA_SLICE_FMT "\" does not exist",
            RIA_SLICE_ARG(request.name)
        );
    } else if (err == RIA_ERR_TOO_LARGE || err == RIA_ERR_LIMIT) {
        coordinator_refuse(
            coordinator, call, RIA_ERR_TOO_LARGE, "there is more to tell than fits into one answer"
        );
    } else {
        coordinator_refuse(coordinator, call, err, "%s", ria_err_text(err));
    }
}
