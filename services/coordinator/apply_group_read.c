/* The operation GroupRead: join, commit, lease. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

#include "schemas/gen/group_read.h"
#include "schemas/gen/group_read_result.h"

#include "services/coordinator/apply_groups.h"

typedef struct group_read_group_read_topic read_topic;

struct reader {
    struct group_call *call;
    const struct group_read *request;
    struct group_read_result *result;
    bool has_member;
    struct member_row member;
    struct ria_uuid *topics;   /* of the request */
    int32_t *partition_counts; /* of them */
    int64_t **ends;            /* by topic and partition: the high watermark, -1 = nothing known */
    struct group_partition *rows; /* what the reader may read, ascending by topic and partition if
                                     it is a member, by topic of the request if not */
    uint32_t rows_count;
    int64_t retry_at; /* lease clock, INT64_MAX = never */
};

/* ---- the request ---- */

static ria_err check_numbers(struct group_call *call, const struct group_read *r)
{
    RIA_TRY(
        apply_check_range(call->apply, "partitionsMax", r->partitions_max, 1, GROUP_PARTITIONS_MAX)
    );
    if (!r->hold) {
        RIA_TRY(apply_check_range(
            call->apply, "leaseMs", r->lease_ms, GROUP_LEASE_MS_MIN, GROUP_LEASE_MS_MAX
        ));
    }
    if (r->member.size > 0) {
        RIA_TRY(group_check_name(call, "member", r->member));
        return apply_check_range(
            call->apply, "sessionMs", r->session_ms, GROUP_LEASE_MS_MIN, GROUP_LEASE_MS_MAX
        );
    }
    if (r->hold || r->commit_delivered) {
        return apply_fail(
            call->apply, RIA_ERR_INVALID, "hold and commitDelivered are for members: name one"
        );
    }
    return r->topics_count > 0
               ? RIA_OK
               : apply_fail(call->apply, RIA_ERR_INVALID, "topics must not be empty");
}

static ria_err check_offsets(struct reader *reader, uint32_t topic)
{
    struct group_call *call = reader->call;
    const read_topic *r = &reader->request->topics[topic];
    int32_t count = reader->partition_counts[topic];

    for (uint32_t i = 0; i < r->ends_count; i++) {
        RIA_TRY(group_check_partition(call, "ends", r->ends[i].partition, count));
        reader->ends[topic][r->ends[i].partition] = r->ends[i].offset;
    }
    for (uint32_t i = 0; i < r->starts_count; i++) {
        RIA_TRY(group_check_partition(call, "starts", r->starts[i].partition, count));
        RIA_TRY(
            apply_check_range(call->apply, "offset of starts", r->starts[i].offset, 0, INT64_MAX)
        );
    }
    return RIA_OK;
}

static ria_err check_read_topics(struct reader *reader)
{
    struct ria_arena *arena = reader->call->arena;
    const struct group_read *r = reader->request;
    uint32_t count = r->topics_count;

    reader->topics = ria_arena_alloc_array(arena, count, sizeof(*reader->topics));
    reader->partition_counts = ria_arena_alloc_array(arena, count, sizeof(int32_t));
    reader->ends = ria_arena_alloc_array(arena, count, sizeof(*reader->ends));
    if (reader->topics == NULL || reader->partition_counts == NULL || reader->ends == NULL) {
        return ria_arena_err(arena);
    }
    for (uint32_t i = 0; i < count; i++) {
        reader->topics[i] = r->topics[i].topic_id;
    }
    RIA_TRY(
        group_check_topics(reader->call, "topics", reader->topics, count, reader->partition_counts)
    );
    for (uint32_t i = 0; i < count; i++) {
        size_t partitions = (size_t)reader->partition_counts[i];
        reader->ends[i] = ria_arena_alloc_array(arena, partitions, sizeof(int64_t));
        if (reader->ends[i] == NULL) {
            return ria_arena_err(arena);
        }
        memset(reader->ends[i], 0xff, partitions * sizeof(int64_t)); /* -1 */
        RIA_TRY(check_offsets(reader, i));
    }
    return RIA_OK;
}

/* ---- the member ---- */

/* One that was gone comes back without an error, unless it was made: then it has to be made anew.
 */
static ria_err join(struct reader *reader)
{
    struct group_call *call = reader->call;
    const struct group_read *r = reader->request;
    struct member_row *member = &reader->member;
    bool lives = member_row_read(call->db, call->group.id, r->member, member);

    if (lives || r->member_epoch != -1) {
        RIA_TRY(group_get_member(call, r->member, r->member_epoch, member));
    } else {
        *member = (struct member_row){
            .name = r->member,
            .kind = MEMBER_NAMED,
            .epoch = group_next_epoch(call),
        };
    }
    if (member->kind == MEMBER_NAMED) {
        member->session_ms = r->session_ms;
    }
    member->deadline = call->now_ms + member->session_ms;
    if (!lives) {
        RIA_TRY(group_add_member(call, member));
    }
    if (member->kind == MEMBER_NAMED && r->topics_count > 0) {
        RIA_TRY(group_subscribe(call, member, reader->topics, r->topics_count));
    }
    reader->has_member = true;
    reader->result->member_epoch = member->epoch;
    return group_touch_member(call, member);
}

static ria_err become_reader(struct reader *reader)
{
    struct group_call *call = reader->call;

    RIA_TRY(group_expire_members(call));
    if (reader->request->member.size > 0) {
        RIA_TRY(join(reader));
    } else if (call->group.member_count > 0) {
        return apply_fail(
            call->apply,
            RIA_ERR_CONFLICT,
            "group \"" RIA_SLICE_FMT "\" has named members, which share all partitions: a consumer "
            "needs a name, too",
            RIA_SLICE_ARG(call->group.name)
        );
    }
    return group_settle_members(call);
}

/* ---- what it may read ---- */

static ria_err load_all(struct reader *reader)
{
    struct group_call *call = reader->call;
    size_t count = 0;
    uint32_t filled = 0;

    for (uint32_t i = 0; i < reader->request->topics_count; i++) {
        count += (size_t)reader->partition_counts[i];
    }
    reader->rows = ria_arena_alloc_array(call->arena, count, sizeof(*reader->rows));
    if (reader->rows == NULL) {
        return ria_arena_err(call->arena);
    }
    for (uint32_t i = 0; i < reader->request->topics_count; i++) {
        RIA_TRY(group_partitions_read(
            call->db,
            call->group.id,
            &reader->topics[i],
            reader->partition_counts[i],
            call->arena,
            &reader->rows[filled]
        ));
        filled += (uint32_t)reader->partition_counts[i];
    }
    reader->rows_count = filled;
    return RIA_OK;
}

static ria_err load_chosen(struct reader *reader)
{
    struct group_call *call = reader->call;
    struct subscription_row *chosen = NULL;

    RIA_TRY(subscriptions_read(
        call->db, call->group.id, reader->member.name, call->arena, &chosen, &reader->rows_count
    ));
    reader->rows = ria_arena_alloc_array(call->arena, reader->rows_count, sizeof(*reader->rows));
    if (reader->rows == NULL) {
        return ria_arena_err(call->arena);
    }
    for (uint32_t i = 0; i < reader->rows_count; i++) {
        RIA_TRY(group_partition_read(
            call->db,
            call->group.id,
            &chosen[i].topic_id,
            chosen[i].partition,
            call->arena,
            &reader->rows[i]
        ));
    }
    return RIA_OK;
}

static ria_err load_rows(struct reader *reader)
{
    struct group_call *call = reader->call;

    if (!reader->has_member) {
        return load_all(reader);
    }
    if (reader->member.chosen) {
        return load_chosen(reader);
    }
    struct meta_stmt *stmt = meta_query(call->db, META_GROUP_PARTITIONS_OF_MEMBER);
    meta_bind_int(stmt, 1, call->group.id);
    meta_bind_text(stmt, 2, reader->member.name);
    return group_partitions_take(stmt, call->arena, &reader->rows, &reader->rows_count);
}

static int compare_row(const void *a, const void *b)
{
    const struct group_partition *x = a;
    const struct group_partition *y = b;
    int order = memcmp(x->topic_id.bytes, y->topic_id.bytes, sizeof(x->topic_id.bytes));

    return order != 0 ? order : x->partition < y->partition ? -1 : x->partition > y->partition;
}

/* Index of the topic in the request, -1 = it is not there. */
static int32_t find_topic(const struct reader *reader, const struct ria_uuid *topic_id)
{
    for (uint32_t i = 0; i < reader->request->topics_count; i++) {
        if (ria_uuid_equal(reader->topics[i], *topic_id)) {
            return (int32_t)i;
        }
    }
    return -1;
}

/* NULL: it is not the reader's to read. */
static struct group_partition *
find_row(const struct reader *reader, const struct ria_uuid *topic_id, int32_t partition)
{
    uint32_t first = 0;

    if (reader->has_member) {
        const struct group_partition key = {.topic_id = *topic_id, .partition = partition};
        return reader->rows_count == 0
                   ? NULL
                   : bsearch(&key, reader->rows, reader->rows_count, sizeof(key), compare_row);
    }
    int32_t topic = find_topic(reader, topic_id);
    if (topic < 0 || partition < 0 || partition >= reader->partition_counts[topic]) {
        return NULL;
    }
    for (int32_t i = 0; i < topic; i++) {
        first += (uint32_t)reader->partition_counts[i];
    }
    return &reader->rows[first + (uint32_t)partition];
}

/* ---- commits and starts ---- */

/* True: it counts, or did before. */
static bool commit(
    struct reader *reader,
    const struct group_read_group_read_commit *entry,
    struct group_partition *row
)
{
    if (entry->lease_id == 0 || entry->lease_id != row->lease_id) {
        return entry->offset == row->position;
    }
    bool ok = entry->offset >= row->position;
    if (entry->offset > row->position) {
        group_set_position(reader->call, row, entry->offset, RIA_SLICE_EMPTY);
    }
    group_end_lease(reader->call, row);
    return ok;
}

static ria_err apply_commits(struct reader *reader)
{
    struct group_call *call = reader->call;
    const struct group_read *r = reader->request;
    struct group_read_result *result = reader->result;
    struct group_partition other;

    result->lost = ria_arena_alloc_array(call->arena, r->commits_count, sizeof(*result->lost));
    if (result->lost == NULL) {
        return ria_arena_err(call->arena);
    }
    for (uint32_t i = 0; i < r->commits_count; i++) {
        const struct group_read_group_read_commit *entry = &r->commits[i];
        struct group_partition *row = find_row(reader, &entry->topic_id, entry->partition);
        bool ok = false;
        if (row != NULL) {
            ok = commit(reader, entry, row);
        } else {
            row = &other;
            RIA_TRY(group_partition_read(
                call->db, call->group.id, &entry->topic_id, entry->partition, call->arena, row
            ));
            ok = commit(reader, entry, row);
            RIA_TRY(group_write_partitions(call, row, 1));
        }
        if (!ok) {
            result->lost[result->lost_count++] = (struct group_read_result_group_lost){
                .topic_id = entry->topic_id,
                .partition = entry->partition,
                .position = row->position,
            };
        }
    }
    return RIA_OK;
}

/* The first start counts. Those for partitions of others come with their readers. */
static void apply_starts(struct reader *reader)
{
    for (uint32_t i = 0; i < reader->request->topics_count; i++) {
        const read_topic *topic = &reader->request->topics[i];
        for (uint32_t k = 0; k < topic->starts_count; k++) {
            struct group_partition *row =
                find_row(reader, &topic->topic_id, topic->starts[k].partition);
            if (row != NULL && row->position == -1) {
                row->position = topic->starts[k].offset;
                row->touched = true;
            }
        }
    }
}

/* ---- leases ---- */

static void grant(struct reader *reader, struct group_partition *row, int64_t offset)
{
    struct group_call *call = reader->call;
    struct group_read_result *result = reader->result;
    int64_t deadline = row->deadline == GROUP_HELD ? reader->member.deadline : row->deadline;

    result->granted[result->granted_count++] = (struct group_read_result_group_grant){
        .topic_id = row->topic_id,
        .partition = row->partition,
        .lease_id = row->lease_id,
        .offset = offset,
        .left_ms = deadline - call->now_ms,
    };
}

/* What a lease that is not held keeps of the Read that gave it: never the next of a held one. */
static int64_t mark_of_read(const struct group_read *r)
{
    return r->read_id > 1 ? -r->read_id : -1;
}

/* The same Read, repeated: its answer was lost. */
static bool is_repeated(const struct group_read *r, const struct group_partition *row)
{
    return !r->hold && row->deadline != GROUP_HELD && mark_of_read(r) != -1 &&
           row->next == mark_of_read(r);
}

static void give_lease(struct reader *reader, struct group_partition *row)
{
    const struct group_read *r = reader->request;

    row->lease_id = group_row_next_lease(&reader->call->group);
    row->holder = reader->has_member ? reader->member.name : RIA_SLICE_EMPTY;
    row->deadline = r->hold ? GROUP_HELD : reader->call->now_ms + r->lease_ms;
    row->next = r->hold ? row->position : mark_of_read(r);
    row->freed = false;
    row->touched = true;
}

static void look_at(struct reader *reader, struct group_partition *row)
{
    struct group_read_result *result = reader->result;
    const struct group_read *r = reader->request;
    int32_t topic = find_topic(reader, &row->topic_id);
    int64_t end = topic < 0 ? -1 : reader->ends[topic][row->partition];
    bool out = group_lease_is_out(reader->call, row);
    bool own = out && r->hold && row->deadline == GROUP_HELD &&
               ria_slice_equal(row->holder, reader->member.name);

    if (out && is_repeated(r, row)) {
        return; /* granted again before */
    }
    if (out && !own) {
        if (row->deadline != GROUP_HELD) {
            reader->retry_at = ria_min_i64(reader->retry_at, row->deadline);
        }
        return;
    }
    int64_t offset = own ? row->next : row->position;
    if (offset >= 0 && end > offset) {
        if (result->granted_count < (uint32_t)r->partitions_max) {
            if (!own) {
                give_lease(reader, row);
            }
            grant(reader, row, offset);
        }
        return;
    }
    if (result->offered_count == GROUP_PARTITIONS_MAX) {
        return; /* the topics have grown since they were subscribed to */
    }
    result->offered[result->offered_count++] = (struct group_read_result_group_offer){
        .topic_id = row->topic_id,
        .partition = row->partition,
        .offset = offset,
    };
}

/* What an earlier Read of the same id was granted comes first: a repeated one gets nothing else in
 * its place. */
static void grant_again(struct reader *reader)
{
    for (uint32_t i = 0; i < reader->rows_count; i++) {
        struct group_partition *row = &reader->rows[i];
        if (group_lease_is_out(reader->call, row) && is_repeated(reader->request, row) &&
            reader->result->granted_count < (uint32_t)reader->request->partitions_max) {
            grant(reader, row, row->position);
        }
    }
}

/* Where to begin: not always at the same one, or the last ones would never have their turn. Mixed,
 * since a count alone gets into step with consumers that call in a rhythm. */
static uint32_t first_row(const struct reader *reader)
{
    const struct group_call *call = reader->call;
    uint64_t turn = (uint64_t)call->now_ms + (uint64_t)call->group.next_lease;

    turn = (turn ^ turn >> 33) * UINT64_C(0xff51afd7ed558ccd); /* murmur3's finaliser */
    turn = (turn ^ turn >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    return reader->rows_count == 0 ? 0 : (uint32_t)((turn >> 33) % reader->rows_count);
}

static ria_err give_leases(struct reader *reader)
{
    struct group_call *call = reader->call;
    struct group_read_result *result = reader->result;
    uint32_t count = reader->rows_count;

    result->granted = ria_arena_alloc_array(call->arena, count, sizeof(*result->granted));
    result->offered = ria_arena_alloc_array(call->arena, count, sizeof(*result->offered));
    if (result->granted == NULL || result->offered == NULL) {
        return ria_arena_err(call->arena);
    }
    grant_again(reader);
    uint32_t first = first_row(reader);
    for (uint32_t i = 0; i < count; i++) {
        look_at(reader, &reader->rows[(first + i) % count]);
    }
    return group_write_partitions(call, reader->rows, count);
}

/* When another member's session ends, its partitions are divided among the others. */
static void set_retry(struct reader *reader)
{
    struct group_call *call = reader->call;

    if (reader->has_member && call->group.member_count > 1) {
        int64_t next = members_next_deadline(call->db, call->group.id, reader->member.name);
        reader->retry_at = ria_min_i64(reader->retry_at, next);
    }
    if (reader->retry_at != INT64_MAX) {
        reader->result->retry_after_ms = ria_max_i64(1, reader->retry_at - call->now_ms);
    }
}

ria_err apply_group_read(struct group_call *call, const void *body, void *result)
{
    struct reader reader = {
        .call = call,
        .request = body,
        .result = result,
        .retry_at = INT64_MAX,
    };

    RIA_TRY(check_numbers(call, reader.request));
    RIA_TRY(check_read_topics(&reader));
    RIA_TRY(group_find_or_make(call, reader.request->group, GROUP_STREAM, NULL));
    RIA_TRY(become_reader(&reader));
    if (reader.request->commit_delivered) {
        RIA_TRY(group_commit_delivered(call, reader.member.name));
    }
    RIA_TRY(load_rows(&reader));
    RIA_TRY(apply_commits(&reader));
    apply_starts(&reader);
    RIA_TRY(give_leases(&reader));
    set_retry(&reader);
    reader.result->generation = call->group.generation;
    reader.result->changed = call->group.changed;
    return RIA_OK;
}
