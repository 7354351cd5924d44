/* POST .../offsets, GET .../offsets and POST .../offsets:list of a consumer instance.
 *
 * Confluent's meaning: a client posts the last offset that it has finished, and the position is
 * behind it; what is read back is the position. An empty body commits what was delivered: what the
 * socket has taken as a whole, never what was only read. */
#include <string.h>

#include "common/json.h"

#include "schemas/gen/describe_groups_request.h"
#include "schemas/gen/describe_groups_response.h"
#include "schemas/gen/group_commit.h"
#include "schemas/gen/group_commit_result.h"
#include "schemas/gen/group_read.h"
#include "schemas/gen/group_read_result.h"

#include "services/gateway/commit_check.h"
#include "services/gateway/consumer_hold.h"
#include "services/gateway/consumer_input.h"

typedef struct describe_groups_response_described_group described_group;
typedef struct describe_groups_response_described_group_partition described_partition;

struct committing {
    struct consumer_call *call;
    struct consumer_at *at; /* offset: the last one that is finished */
    uint32_t count;
    bool all; /* what was delivered */
    struct commit_check check;
    struct group_commit body;
    struct group_read read;
};

/* --- the answer of a commit --------------------------------------------------------------------*/

static ria_err render_committed(
    const struct committing *committing, const struct group_commit_result *said, struct ria_buf *out
)
{
    bool any = false;

    RIA_TRY(ria_buf_append_str(out, "["));
    for (uint32_t i = 0; i < said->entries_count; i++) {
        const struct consumer_at *at = &committing->at[i];
        int64_t position = said->entries[i].position;
        if (committing->all && (position <= 0 || said->entries[i].error_code != 0)) {
            continue; /* nothing was ever committed of it */
        }
        RIA_TRY(ria_buf_printf(
            out,
            "%s{\"topic\":\"%s\",\"partition\":%d,\"consumed\":%lld,\"committed\":%lld}",
            any ? "," : "",
            at->partition->topic->name,
            (int)at->partition->number,
            (long long)at->offset,
            (long long)position - 1
        ));
        any = true;
    }
    return ria_buf_append_str(out, "]");
}

/* The first entry that was refused; NULL: none. A repeated one was done before. */
static const struct consumer_at *find_refused(
    const struct committing *committing, const struct group_commit_result *said, bool repeated
)
{
    for (uint32_t i = 0; i < said->entries_count && !committing->all; i++) {
        bool done = said->entries[i].error_code == 0 ||
                    (repeated && said->entries[i].position > committing->at[i].offset);
        if (!done) {
            return &committing->at[i];
        }
    }
    return NULL;
}

static void committed(struct group_op *op, const struct group_op_result *result)
{
    struct committing *committing = op->arg;
    struct request *request = committing->call->request;
    const struct group_commit_result *said = result->body;
    struct ria_buf out;

    if (result->err != RIA_OK) {
        consumer_fail(request, result);
        return;
    }
    if (said->entries_count != committing->count) {
        request_fail_err(request, RIA_ERR_MALFORMED, "");
        return;
    }
    const struct consumer_at *refused = find_refused(committing, said, result->repeated);
    if (refused != NULL) {
        int64_t position = said->entries[refused - committing->at].position;
        bool is_behind = position > refused->offset;
        consumer_refuse(
            request,
            40903,
            "offset",
            is_behind ? "offset %lld of partition %d of topic %s is below the position %lld, which "
                        "moves back by POST /v1/groups/{group}/reset only; the others stand"
                      : "offset %lld of partition %d of topic %s cannot be committed: another "
                        "member holds the partition (position %lld); the others stand",
            (long long)refused->offset,
            (int)refused->partition->number,
            refused->partition->topic->name,
            (long long)position
        );
        return;
    }
    ria_buf_init(&out, DOCUMENT_MAX);
    consumer_respond(request, render_committed(committing, said, &out), &out);
}

/* --- committing --------------------------------------------------------------------------------*/

/* Positions without leases: of partitions that the instance holds, or nobody. offset false: they
 * are only asked for. */
static void commit(struct committing *committing, bool offsets)
{
    struct consumer_call *call = committing->call;
    struct group_commit *body = &committing->body;

    group_commit_init(body);
    body->group = call->group;
    body->member = call->name;
    body->member_epoch = call->epoch;
    body->free = true;
    body->entries =
        ria_arena_alloc_array(&call->request->arena, committing->count, sizeof(*body->entries));
    if (body->entries == NULL) {
        request_fail_err(call->request, RIA_ERR_NOMEM, "");
        return;
    }
    body->entries_count = committing->count;
    for (uint32_t i = 0; i < committing->count; i++) {
        struct group_commit_group_commit_entry *entry = &body->entries[i];
        group_commit_group_commit_entry_init(entry);
        entry->topic_id = committing->at[i].partition->topic->id;
        entry->partition = committing->at[i].partition->number;
        entry->offset = offsets ? committing->at[i].offset + 1 : -1;
        entry->metadata = offsets ? committing->at[i].metadata : RIA_SLICE_EMPTY;
    }
    consumer_op(call, GROUP_OP_COMMIT, body, 0, committed);
    call->op.arg = committing;
}

static void checked(struct commit_check *check, ria_err err, const struct marks_at *at)
{
    struct committing *committing = check->arg;
    struct failure failure;

    if (err == RIA_OK) {
        commit(committing, true);
        return;
    }
    if (err != RIA_ERR_OFFSET_OUT_OF_RANGE) {
        commit_check_failure(&failure, "offset", err, at);
        request_fail(committing->call->request, &failure);
        return;
    }
    consumer_refuse(
        committing->call->request,
        40002,
        "offset",
        "offset %lld is past the end of partition %d of topic %s",
        (long long)at->offset,
        (int)at->partition->number,
        at->partition->topic->name
    );
}

static void commit_given(struct committing *committing)
{
    struct consumer_call *call = committing->call;
    struct commit_check *check = &committing->check;

    check->at = ria_arena_alloc_array(&call->request->arena, committing->count, sizeof(*check->at));
    if (check->at == NULL) {
        request_fail_err(call->request, RIA_ERR_NOMEM, "");
        return;
    }
    for (uint32_t i = 0; i < committing->count; i++) {
        check->at[i] = (struct marks_at){committing->at[i].partition, committing->at[i].offset};
    }
    check->marks = &call->gateway->marks;
    check->leaders = &call->gateway->leaders;
    check->count = committing->count;
    check->timeout_ms = call->gateway->options.request_timeout_ms;
    check->done = checked;
    check->arg = committing;
    commit_check_start(check);
}

/* What was delivered is committed; the positions are asked for to tell them. */
static void delivered_committed(struct group_op *op, const struct group_op_result *result)
{
    struct committing *committing = op->arg;
    struct consumer_call *call = committing->call;
    const struct group_read_result *said = result->body;

    if (result->err != RIA_OK) {
        consumer_fail(call->request, result);
        return;
    }
    committing->at =
        ria_arena_alloc_array(&call->request->arena, said->offered_count, sizeof(*committing->at));
    if (committing->at == NULL) {
        request_fail_err(call->request, RIA_ERR_NOMEM, "");
        return;
    }
    for (uint32_t i = 0; i < said->offered_count; i++) {
        struct cluster_partition *partition = cluster_partition(
            call->gateway->cluster, &said->offered[i].topic_id, said->offered[i].partition
        );
        if (partition != NULL && said->offered[i].offset > 0) {
            committing->at[committing->count++] =
                (struct consumer_at){.partition = partition, .offset = said->offered[i].offset - 1};
        }
    }
    commit(committing, false);
}

static void commit_delivered(struct committing *committing)
{
    struct consumer_call *call = committing->call;
    struct group_read *body = &committing->read;

    committing->all = true;
    group_read_init(body);
    body->group = call->group;
    body->member = call->name;
    body->member_epoch = call->epoch;
    body->session_ms = call->gateway->options.consumer_session_ms;
    body->partitions_max = 1; /* without ends none is leased */
    body->hold = true;
    body->commit_delivered = true;
    consumer_op(call, GROUP_OP_READ, body, (size_t)call->assigned_count * 40, delivered_committed);
    call->op.arg = committing;
}

/* Confluent's list is "offsets", Pandaproxy's is "partitions". */
static bool take_offsets(struct committing *committing, const json_t *document)
{
    static const char *const known[] = {"offsets", "partitions", NULL};
    struct consumer_call *call = committing->call;
    const json_t *array = json_object_get(document, "offsets");
    const char *name = "offsets";

    if (!consumer_known(call->request, document, known)) {
        return false;
    }
    if (array == NULL) {
        array = json_object_get(document, "partitions");
        name = array == NULL ? "offsets" : "partitions";
    }
    if (!consumer_partitions(call, array, name, WANT_OFFSET, &committing->at, &committing->count)) {
        return false;
    }
    if (!consumer_sort(committing->at, committing->count)) {
        consumer_refuse(call->request, 422, name, "a partition is there twice");
        return false;
    }
    committing->all = array == NULL;
    return true;
}

static void commit_now(struct consumer_call *call)
{
    struct committing *committing = ria_arena_alloc(&call->request->arena, sizeof(*committing));
    json_t *document = NULL;

    if (committing == NULL) {
        request_fail_err(call->request, RIA_ERR_NOMEM, "");
        return;
    }
    committing->call = call;
    if (!consumer_document(call->request, true, &document)) {
        return;
    }
    bool fine = document == NULL || take_offsets(committing, document);
    committing->all = committing->all || document == NULL;
    json_decref(document);
    if (fine && committing->all) {
        commit_delivered(committing);
    } else if (fine) {
        commit_given(committing);
    }
}

/* async=true is answered when it was done all the same. */
void handle_consumer_commit(struct gateway *gateway, struct request *request)
{
    static const char *const known[] = {"async", NULL};
    struct consumer_call *call = consumer_call_new(gateway, request);

    if (call != NULL && gateway_query_known(request, known)) {
        (void)consumer_open(call, commit_now);
    }
}

/* --- reading positions -------------------------------------------------------------------------*/

struct listing {
    struct consumer_call *call;
    struct consumer_at *at;
    uint32_t count;
    struct describe_groups_request body;
};

/* NULL: nothing was committed of it. */
static const described_partition *
find_position(const described_group *group, const struct cluster_partition *partition)
{
    for (uint32_t i = 0; i < group->partitions_count; i++) {
        const described_partition *described = &group->partitions[i];
        if (described->partition == partition->number &&
            ria_uuid_equal(described->topic_id, partition->topic->id)) {
            return described->position >= 0 && described->committed_ms > 0 ? described : NULL;
        }
    }
    return NULL;
}

static ria_err
render_positions(const struct listing *listing, const described_group *group, struct ria_buf *out)
{
    bool any = false;

    RIA_TRY(ria_buf_append_str(out, "{\"offsets\":["));
    for (uint32_t i = 0; group != NULL && i < listing->count; i++) {
        const struct cluster_partition *partition = listing->at[i].partition;
        const described_partition *described = find_position(group, partition);
        if (described == NULL) {
            continue;
        }
        RIA_TRY(ria_buf_printf(
            out,
            "%s{\"topic\":\"%s\",\"partition\":%d,\"offset\":%lld,\"metadata\":",
            any ? "," : "",
            partition->topic->name,
            (int)partition->number,
            (long long)described->position
        ));
        RIA_TRY(ria_json_append_string(out, described->metadata));
        RIA_TRY(ria_buf_append_str(out, "}"));
        any = true;
    }
    return ria_buf_append_str(out, "]}");
}

static void described(void *arg, ria_err err, const char *text, const void *response)
{
    const struct listing *listing = arg;
    const struct describe_groups_response *said = response;
    struct ria_buf out;

    if (err != RIA_OK) {
        request_fail_err(listing->call->request, err, text);
        return;
    }
    ria_buf_init(&out, DOCUMENT_MAX);
    err = render_positions(listing, said->groups_count > 0 ? &said->groups[0] : NULL, &out);
    consumer_respond(listing->call->request, err, &out);
}

/* topic=a&partition=0,1: what many clients can send with a GET. */
static bool take_query(struct listing *listing)
{
    struct consumer_call *call = listing->call;
    struct ria_slice name = RIA_SLICE_NULL;
    struct ria_slice numbers = RIA_SLICE_NULL;

    if (request_query(call->request, "topic", &name) != RIA_OK ||
        request_query(call->request, "partition", &numbers) != RIA_OK || ria_slice_is_null(name) ||
        ria_slice_is_null(numbers)) {
        consumer_refuse(
            call->request,
            40402,
            "partitions",
            "which partitions? Say it in the body, {\"partitions\":[{\"topic\":\"t\",\"partition\":"
            "0}]}, of this GET or of POST .../offsets:list, or as ?topic=t&partition=0,1"
        );
        return false;
    }
    struct cluster_topic *topic = consumer_topic(call, name);
    if (topic == NULL) {
        return false;
    }
    listing->at =
        ria_arena_alloc_array(&call->request->arena, numbers.size + 1, sizeof(*listing->at));
    if (listing->at == NULL) {
        request_fail_err(call->request, RIA_ERR_NOMEM, "");
        return false;
    }
    for (size_t at = 0; at <= numbers.size;) {
        const uint8_t *comma =
            at < numbers.size ? memchr(numbers.data + at, ',', numbers.size - at) : NULL;
        size_t size = comma == NULL ? numbers.size - at : (size_t)(comma - numbers.data) - at;
        int64_t number = -1;
        (void)request_parse_i64(ria_slice_sub(numbers, at, size), &number);
        struct cluster_partition *partition = consumer_partition(call, topic, number);
        if (partition == NULL) {
            return false;
        }
        listing->at[listing->count++].partition = partition;
        at += size + 1;
    }
    return true;
}

static bool take_list(struct listing *listing)
{
    static const char *const known[] = {"partitions", NULL};
    struct consumer_call *call = listing->call;
    json_t *document = NULL;

    if (!consumer_document(call->request, true, &document)) {
        return false;
    }
    if (document == NULL) {
        return take_query(listing);
    }
    bool fine = consumer_known(call->request, document, known) &&
                consumer_partitions(
                    call,
                    json_object_get(document, "partitions"),
                    "partitions",
                    WANT_PARTITION,
                    &listing->at,
                    &listing->count
                );
    json_decref(document);
    return fine;
}

static void list_now(struct consumer_call *call)
{
    struct listing *listing = ria_arena_alloc(&call->request->arena, sizeof(*listing));

    if (listing == NULL) {
        request_fail_err(call->request, RIA_ERR_NOMEM, "");
        return;
    }
    listing->call = call;
    if (!take_list(listing)) {
        return;
    }
    describe_groups_request_init(&listing->body);
    listing->body.name = call->group;
    listing->body.limit = 1;
    ria_err err = coordinator_call(
        &call->gateway->coordinator,
        API_DESCRIBE_GROUPS,
        &listing->body,
        ADMIN_TIMEOUT_MS,
        described,
        listing
    );
    if (err != RIA_OK) {
        request_fail_err(call->request, err, "");
    }
}

void handle_consumer_offsets(struct gateway *gateway, struct request *request)
{
    static const char *const known[] = {"topic", "partition", NULL};
    struct consumer_call *call = consumer_call_new(gateway, request);

    if (call != NULL && gateway_query_known(request, known)) {
        (void)consumer_open(call, list_now);
    }
}
