/* POST .../positions, .../positions/beginning and .../positions/end of a consumer instance: what it
 * is given next. Committed positions stay as they are.
 *
 * The instance takes hold of the partitions (consumer_hold.h); then the held leases' next offsets
 * are set. */
#include "schemas/gen/group_commit.h"
#include "schemas/gen/group_commit_result.h"

#include "services/gateway/consumer_hold.h"
#include "services/gateway/consumer_input.h"
#include "services/gateway/group_release.h"

typedef enum seek_to { TO_GIVEN, TO_BEGINNING, TO_END } seek_to;

struct seek {
    struct consumer_call *call;
    seek_to to;
    struct consumer_hold hold;
    struct group_commit commit;
};

/* --- setting -----------------------------------------------------------------------------------*/

static void refuse_partition(struct consumer_call *call, const struct cluster_partition *partition)
{
    consumer_refuse(
        call->request,
        40903,
        "partition",
        "partition %d of topic %s is not assigned to the instance",
        (int)partition->number,
        partition->topic->name
    );
}

static void set(struct group_op *op, const struct group_op_result *result)
{
    struct seek *seek = op->arg;
    const struct group_commit_result *said = result->body;

    if (result->err != RIA_OK) {
        consumer_fail(seek->call->request, result);
        return;
    }
    for (uint32_t i = 0; i < said->entries_count; i++) {
        if (said->entries[i].error_code != 0) { /* somebody has got it meanwhile */
            refuse_partition(seek->call, seek->hold.at[i].partition);
            return;
        }
    }
    request_respond_static(seek->call->request, 204, NULL, NULL);
}

/* -1: answered. */
static int64_t target_of(struct seek *seek, uint32_t i)
{
    const struct consumer_at *at = &seek->hold.at[i];
    const struct position *found = &seek->hold.found[i];

    if (!found->known) {
        request_fail_err(
            seek->call->request, RIA_ERR_NO_LEADER, "the partition's leader does not answer"
        );
        return -1;
    }
    if (seek->to == TO_BEGINNING) {
        return found->log_start;
    }
    if (seek->to == TO_END) {
        return found->high_watermark;
    }
    if (at->timestamp_ms >= 0) {
        return found->offset < 0 ? found->high_watermark : found->offset;
    }
    if (at->offset < found->log_start || at->offset > found->high_watermark) {
        consumer_refuse(
            seek->call->request,
            40002,
            "offset",
            "offset %lld is outside of partition %d of topic %s, which has %lld to %lld",
            (long long)at->offset,
            (int)at->partition->number,
            at->partition->topic->name,
            (long long)found->log_start,
            (long long)found->high_watermark
        );
        return -1;
    }
    return at->offset;
}

static void held(struct consumer_hold *hold, const struct failure *failure)
{
    struct seek *seek = hold->arg;
    struct consumer_call *call = seek->call;
    struct group_commit *body = &seek->commit;

    if (failure != NULL) {
        request_fail(call->request, failure);
        return;
    }
    group_commit_init(body);
    body->group = call->group;
    body->member = call->name;
    body->member_epoch = call->epoch;
    body->lease_ms = GROUP_LEASE_MS_DEFAULT; /* of none: held leases have no deadline */
    body->entries =
        ria_arena_alloc_array(&call->request->arena, hold->count, sizeof(*body->entries));
    if (body->entries == NULL) {
        request_fail_err(call->request, RIA_ERR_NOMEM, "");
        return;
    }
    for (uint32_t i = 0; i < hold->count; i++) {
        struct group_commit_group_commit_entry *entry = &body->entries[body->entries_count++];
        int64_t target = target_of(seek, i);
        if (target < 0) {
            return;
        }
        if (hold->leases[i] == 0) {
            refuse_partition(call, hold->at[i].partition);
            return;
        }
        group_commit_group_commit_entry_init(entry);
        entry->topic_id = hold->at[i].partition->topic->id;
        entry->partition = hold->at[i].partition->number;
        entry->lease_id = hold->leases[i];
        entry->offset = -1;
        entry->keep = true;
        entry->delivered = target;
    }
    consumer_op(call, GROUP_OP_COMMIT, body, 0, set);
    call->op.arg = seek;
}

/* --- the document ------------------------------------------------------------------------------*/

static bool take_given(struct seek *seek, const json_t *document)
{
    static const char *const known[] = {"offsets", "timestamps", NULL};
    struct consumer_call *call = seek->call;
    struct consumer_hold *hold = &seek->hold;
    struct consumer_at *offsets = NULL;
    struct consumer_at *times = NULL;
    uint32_t offset_count = 0;
    uint32_t time_count = 0;

    if (!consumer_known(call->request, document, known) ||
        !consumer_partitions(
            call,
            json_object_get(document, "offsets"),
            "offsets",
            WANT_OFFSET,
            &offsets,
            &offset_count
        ) ||
        !consumer_partitions(
            call,
            json_object_get(document, "timestamps"),
            "timestamps",
            WANT_TIMESTAMP,
            &times,
            &time_count
        )) {
        return false;
    }
    hold->at = ria_arena_alloc_array(
        &call->request->arena, (size_t)offset_count + time_count, sizeof(*hold->at)
    );
    if (hold->at == NULL) {
        request_fail_err(call->request, RIA_ERR_NOMEM, "");
        return false;
    }
    for (uint32_t i = 0; i < offset_count; i++) {
        hold->at[hold->count++] = offsets[i];
    }
    for (uint32_t i = 0; i < time_count; i++) {
        hold->at[hold->count++] = times[i];
    }
    return true;
}

static bool take_all(struct seek *seek, const json_t *document)
{
    static const char *const known[] = {"partitions", NULL};

    return consumer_known(seek->call->request, document, known) &&
           consumer_partitions(
               seek->call,
               json_object_get(document, "partitions"),
               "partitions",
               WANT_PARTITION,
               &seek->hold.at,
               &seek->hold.count
           );
}

static bool check_partitions(struct seek *seek)
{
    struct consumer_call *call = seek->call;
    const struct consumer_hold *hold = &seek->hold;

    if (hold->count == 0) {
        consumer_refuse(call->request, 422, "partitions", "the body names no partitions");
        return false;
    }
    if (!consumer_sort(hold->at, hold->count)) {
        consumer_refuse(call->request, 422, "partitions", "a partition is there twice");
        return false;
    }
    for (uint32_t i = 0; i < hold->count; i++) {
        if (!consumer_has(call, hold->at[i].partition)) {
            refuse_partition(call, hold->at[i].partition);
            return false;
        }
    }
    return true;
}

static void seek_now(struct consumer_call *call)
{
    struct seek *seek = call->user;
    json_t *document = NULL;

    if (!consumer_document(call->request, false, &document)) {
        return;
    }
    bool fine = seek->to == TO_GIVEN ? take_given(seek, document) : take_all(seek, document);
    json_decref(document);
    if (!fine || !check_partitions(seek)) {
        return;
    }
    seek->hold.call = call;
    seek->hold.holds = true;
    seek->hold.done = held;
    seek->hold.arg = seek;
    ria_err err = consumer_hold_start(&seek->hold);
    if (err != RIA_OK) {
        request_fail_err(call->request, err, "");
    }
}

static void start(struct gateway *gateway, struct request *request, seek_to to)
{
    struct consumer_call *call = consumer_call_new(gateway, request);
    struct seek *seek = NULL;

    if (call == NULL) {
        return;
    }
    seek = ria_arena_alloc(&request->arena, sizeof(*seek));
    if (seek == NULL) {
        request_fail_err(request, RIA_ERR_NOMEM, "");
        return;
    }
    seek->call = call;
    seek->to = to;
    call->user = seek;
    (void)consumer_open(call, seek_now);
}

void handle_consumer_seek(struct gateway *gateway, struct request *request)
{
    start(gateway, request, TO_GIVEN);
}

void handle_consumer_seek_beginning(struct gateway *gateway, struct request *request)
{
    start(gateway, request, TO_BEGINNING);
}

void handle_consumer_seek_end(struct gateway *gateway, struct request *request)
{
    start(gateway, request, TO_END);
}
