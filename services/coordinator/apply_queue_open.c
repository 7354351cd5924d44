/* QueueOpen: make a queue group, or change its settings. What is leased keeps what it was leased
 * with; order per key holds for what is given out for the first time from now on. */
#include <inttypes.h>
#include <stdio.h>

#include "common/assert.h"

#include "schemas/gen/queue_open.h"
#include "schemas/gen/queue_open_result.h"

#include "services/coordinator/apply_queue.h"
#include "services/coordinator/rows.h"

enum {
    RETRIES_TEXT_SIZE = GROUP_RETRIES_MAX * 11 + 1, /* ten digits and a comma each */
    TOPICS_LISTED_MAX = 1000,                       /* in an answer */
};

static ria_err check_retries(struct group_call *call, const struct queue_open *request)
{
    if (request->retry_ms_count > GROUP_RETRIES_MAX) {
        return apply_fail(
            call->apply,
            RIA_ERR_INVALID,
            "retryMs has %" PRIu32 " delays, may have %d",
            request->retry_ms_count,
            GROUP_RETRIES_MAX
        );
    }
    for (uint32_t i = 0; i < request->retry_ms_count; i++) {
        RIA_TRY(
            apply_check_range(call->apply, "retryMs", request->retry_ms[i], 0, QUEUE_DELAY_MS_MAX)
        );
    }
    return RIA_OK;
}

static ria_err check_request(struct group_call *call, const struct queue_open *request)
{
    struct apply *apply = call->apply;

    if (request->lock_ms != -1) {
        RIA_TRY(apply_check_range(
            apply, "lockMs", request->lock_ms, GROUP_LEASE_MS_MIN, GROUP_LEASE_MS_MAX
        ));
    }
    if (request->deliveries_max != -1) {
        RIA_TRY(apply_check_range(
            apply, "deliveriesMax", request->deliveries_max, 1, QUEUE_DELIVERIES_MAX
        ));
    }
    RIA_TRY(apply_check_range(apply, "keyOrder", request->key_order, -1, 1));
    RIA_TRY(check_retries(call, request));
    RIA_TRY(queue_check_dead_topic(apply, request->new_dead_topic));
    return queue_check_dead_topic(apply, request->dead_topic);
}

/* The delays as text, in the arena. */
static ria_err
format_retries(struct group_call *call, const struct queue_open *request, struct ria_slice *out)
{
    char text[RETRIES_TEXT_SIZE] = "";
    size_t used = 0;

    for (uint32_t i = 0; i < request->retry_ms_count; i++) {
        int n = snprintf(
            text + used, sizeof(text) - used, "%s%" PRIu32, i == 0 ? "" : ",", request->retry_ms[i]
        );
        used += n > 0 ? (size_t)n : 0;
    }
    RIA_ASSERT(used < sizeof(text));
    const char *copy = ria_arena_strdup(call->arena, ria_slice_of(text, used));
    if (copy == NULL) {
        return ria_arena_err(call->arena);
    }
    *out = ria_slice_of(copy, used);
    return RIA_OK;
}

/* What the request names, over what is in row. */
static ria_err
take_settings(struct group_call *call, const struct queue_open *request, struct group_row *row)
{
    if (request->lock_ms != -1) {
        row->lock_ms = request->lock_ms;
    }
    if (request->deliveries_max != -1) {
        row->deliveries_max = request->deliveries_max;
    }
    if (request->key_order != -1) {
        row->key_order = request->key_order == 1;
    }
    if (request->dead_topic.data != NULL) {
        row->dead_topic = request->dead_topic;
    }
    return request->retry_ms != NULL ? format_retries(call, request, &row->retry_ms) : RIA_OK;
}

/* Which topics the settings hold for, as far as the group has read them. */
static ria_err list_topics(const struct queue_call *queue, struct queue_open_result *result)
{
    struct rows rows = rows_of(queue->call->arena, sizeof(struct ria_uuid));
    struct meta_stmt *stmt = meta_query(queue->call->db, META_GROUP_TOPICS);
    bool ok = true;

    meta_bind_int(stmt, 1, queue->call->group.id);
    meta_bind_int(stmt, 2, TOPICS_LISTED_MAX);
    while (ok && meta_step(stmt)) {
        struct ria_uuid *topic = rows_add(&rows);
        ok = topic != NULL;
        if (ok) {
            *topic = meta_column_uuid(stmt, 0);
        }
    }
    meta_done(stmt);
    result->topics = rows.items;
    result->topics_count = rows.count;
    return ok ? RIA_OK : ria_arena_err(queue->call->arena);
}

static ria_err fill_result(const struct queue_call *queue, struct queue_open_result *result)
{
    const struct group_row *group = &queue->call->group;
    struct ria_arena *arena = queue->call->arena;
    uint32_t *retry_ms = ria_arena_alloc_array(arena, queue->retry_count, sizeof(*retry_ms));

    if (retry_ms == NULL) {
        return ria_arena_err(arena);
    }
    for (uint32_t i = 0; i < queue->retry_count; i++) {
        retry_ms[i] = queue->retry_ms[i];
    }
    result->lock_ms = (int32_t)group->lock_ms;
    result->deliveries_max = (int32_t)group->deliveries_max;
    result->key_order = group->key_order;
    result->retry_ms = retry_ms;
    result->retry_ms_count = queue->retry_count;
    result->dead_topic = group->dead_topic;
    return list_topics(queue, result);
}

ria_err apply_queue_open(struct group_call *call, const void *body, void *result)
{
    const struct queue_open *request = body;
    struct queue_open_result *answer = result;
    struct group_row settings = queue_defaults();
    struct queue_call queue;
    int64_t groups_before = call->counters->group_count;

    RIA_TRY(check_request(call, request));
    settings.dead_topic = request->new_dead_topic;
    RIA_TRY(take_settings(call, request, &settings));
    RIA_TRY(group_find_or_make(call, request->group, GROUP_QUEUE, &settings));
    answer->made = call->counters->group_count > groups_before;
    if (!answer->made && request->must_be_new) {
        return apply_fail(
            call->apply,
            RIA_ERR_EXISTS,
            "group \"" RIA_SLICE_FMT "\" exists",
            RIA_SLICE_ARG(request->group)
        );
    }
    if (!answer->made) {
        RIA_TRY(take_settings(call, request, &call->group));
        RIA_TRY(group_row_write_settings(call->db, &call->group));
        group_changed(call);
    }
    queue_call_init(&queue, call);
    return fill_result(&queue, answer);
}
