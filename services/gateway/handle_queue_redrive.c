/* POST /v1/queues/{topic}/{group}/redrive: dead letters back to their topic.
 *
 *   DescribeGroups (which topic) -> QueueOpen (the group that redrives) -> receive from the
 *   dead-letter topic -> filter -> store in the topic -> acknowledge what is stored
 *
 * The dead-letter topic is consumed as a queue by a group of its own: what is acknowledged there
 * has been put back and is not put back again; what does not match, or could not be stored, is
 * given back at once and not counted. Stored and not acknowledged, because somebody died in
 * between, is put back again: at least once. The answer's cursor says how far this pass looked. */
#include <inttypes.h>

#include "common/json.h"

#include "schemas/gen/describe_groups_request.h"
#include "schemas/gen/describe_groups_response.h"
#include "schemas/gen/queue_ack.h"
#include "schemas/gen/queue_ack_result.h"
#include "schemas/gen/queue_open.h"

#include "services/gateway/cursor.h"
#include "services/gateway/deliver_at.h"
#include "services/gateway/document.h"
#include "services/gateway/group_fetch.h"
#include "services/gateway/queue_fetch.h"
#include "services/gateway/queue_input.h"
#include "services/gateway/queue_names.h"
#include "services/gateway/redrive_filter.h"

enum {
    REDRIVE_DEFAULT = 1000,
    REDRIVE_BYTES = 1024 * 1024,
    REDRIVE_LOCK_MS = 60 * 1000,
    REDRIVE_DELIVERIES = 1000,
};

struct redrive {
    struct gateway *gateway;
    struct request *request;
    struct cluster_topic *topic;
    struct cluster_topic *letters; /* the dead-letter topic */
    struct ria_slice redrive_group;
    struct redrive_filter filter;
    struct ria_slice cursor; /* as given; empty: none */
    bool dry_run;
    int64_t rate; /* records a second; 0: any */
    int64_t *floors;
    struct describe_groups_request describe;
    struct queue_open open;
    struct queue_fetch fetch;
    struct produce_call call;
    uint32_t *sent; /* of each result: which record */
    struct queue_ack ack;
    struct group_op op;
    uint32_t looked_at;
    uint32_t matched;
    uint32_t put_back;
};

/* --- answering ---------------------------------------------------------------------------------*/

static const char *make_cursor(struct redrive *redrive)
{
    struct ria_arena *arena = &redrive->request->arena;
    struct ria_uuid cluster = cluster_id(redrive->gateway->cluster);
    int32_t partitions = redrive->letters->partition_count;
    struct cursor_entry *entries =
        ria_arena_alloc_array(arena, (size_t)partitions, sizeof(*entries));
    char *text = ria_arena_alloc(arena, CURSOR_TEXT_MAX + 1);
    struct cursor_topic topic = {.id = redrive->letters->id, .entries = entries};
    struct cursor cursor = {.kind = CURSOR_TOPIC, .topics = &topic, .topic_count = 1};
    size_t size = 0;

    if (entries == NULL || text == NULL) {
        return NULL;
    }
    for (int32_t i = 0; i < partitions; i++) {
        if (redrive->floors[i] > 0) {
            entries[topic.count++] =
                (struct cursor_entry){.partition = i, .offset = redrive->floors[i], .lease = -1};
        }
    }
    /* With more partitions than a cursor has room for, the pass begins anew. */
    if (topic.count == 0 || cursor_encode(&cursor, &cluster, text, &size) != RIA_OK) {
        return "";
    }
    return text;
}

/* Letters behind the cursor, as far as this gateway knows. */
static int64_t count_left(const struct redrive *redrive)
{
    int64_t left = 0;

    for (int32_t i = 0; i < redrive->letters->partition_count; i++) {
        int64_t mark = marks_get(&redrive->gateway->marks, redrive->letters->partitions[i]);
        left += ria_max_i64(mark - redrive->floors[i], 0);
    }
    return left;
}

static void respond(struct redrive *redrive)
{
    const char *cursor = redrive->looked_at == 0 ? "" : make_cursor(redrive);
    int64_t pause_ms = redrive->rate == 0 ? 0 : redrive->put_back * INT64_C(1000) / redrive->rate;
    uint32_t failed = redrive->dry_run ? 0 : redrive->matched - redrive->put_back;
    struct ria_buf out;
    ria_err err = cursor == NULL ? RIA_ERR_NOMEM : RIA_OK;

    redrive->gateway->numbers.queue_redriven.value += redrive->put_back;
    ria_buf_init(&out, DOCUMENT_MAX);
    if (err == RIA_OK) {
        err = ria_buf_printf(
            &out,
            "{\"looked_at\":%u,\"matched\":%u,\"put_back\":%u,\"failed\":%u,\"left\":%lld,"
            "\"dry_run\":%s,\"retry_after_ms\":%lld,\"cursor\":",
            redrive->looked_at,
            redrive->matched,
            redrive->put_back,
            failed,
            redrive->looked_at == 0 ? 0LL : (long long)count_left(redrive),
            redrive->dry_run ? "true" : "false",
            (long long)pause_ms
        );
    }
    if (err == RIA_OK) {
        err = *cursor == '\0' ? ria_buf_append_str(&out, "null}\n")
                              : ria_buf_printf(&out, "\"%s\"}\n", cursor);
    }
    gateway_respond_json(redrive->request, 200, err, &out);
}

static void fail(struct redrive *redrive, const struct failure *failure)
{
    queue_fetch_give_back(&redrive->fetch, 0);
    request_fail(redrive->request, failure);
}

static void fail_err(struct redrive *redrive, ria_err err)
{
    struct failure failure;

    failure_of_err(&failure, err, "");
    fail(redrive, &failure);
}

/* --- putting back ------------------------------------------------------------------------------*/

static void marked(struct group_op *op, const struct group_op_result *result)
{
    struct redrive *redrive = op->arg;
    struct failure failure;

    if (result->err != RIA_OK) {
        group_failure(&failure, result);
        failure.outcome = OUTCOME_UNKNOWN; /* they are in the topic, and may come again */
        request_fail(redrive->request, &failure);
        return;
    }
    respond(redrive);
}

/* What is stored is finished, the rest is given back. */
static void stored(struct produce_call *call)
{
    struct redrive *redrive = call->arg;
    struct queue_read *read = &redrive->fetch.read;
    struct queue_ack *body = &redrive->ack;

    queue_ack_init(body);
    body->group = redrive->redrive_group;
    body->topic_id = redrive->letters->id;
    body->entries =
        ria_arena_alloc_array(&redrive->request->arena, call->count, sizeof(*body->entries));
    if (body->entries == NULL) {
        fail_err(redrive, RIA_ERR_NOMEM);
        return;
    }
    for (uint32_t i = 0; i < call->count; i++) {
        struct queue_record *record = &read->records[redrive->sent[i]];
        if (call->results[i].err == RIA_OK) {
            struct queue_ack_queue_ack_entry *entry = &body->entries[body->entries_count++];
            queue_ack_queue_ack_entry_init(entry);
            entry->partition = record->grant->range.partition;
            entry->lease_id = record->grant->range.lease;
            entry->first = record->offset;
            entry->last = record->offset;
            entry->action = QUEUE_DONE;
            record->is_out = false;
        }
    }
    redrive->put_back = body->entries_count;
    queue_fetch_give_back(&redrive->fetch, 0);
    if (body->entries_count == 0) {
        respond(redrive);
        return;
    }
    redrive->op = (struct group_op){
        .kind = GROUP_OP_QUEUE_ACK,
        .body = body,
        .answer_size = (size_t)body->entries_count * 16,
        .deadline_us = ria_clock_mono_us(redrive->gateway->env->clock) +
                       (int64_t)redrive->gateway->options.request_timeout_ms * 1000,
        .repeat = true,
        .done = marked,
        .arg = redrive,
    };
    group_op_start(&redrive->gateway->group_ops, &redrive->op);
}

/* Room for every record that matches. */
static bool prepare(struct redrive *redrive, struct produce_record **out_records)
{
    struct ria_arena *arena = &redrive->request->arena;
    uint32_t count = redrive->fetch.read.record_count;

    *out_records = ria_arena_alloc_array(arena, count, sizeof(**out_records));
    redrive->sent = ria_arena_alloc_array(arena, count, sizeof(*redrive->sent));
    redrive->call = (struct produce_call){
        .topic = redrive->topic,
        .results = ria_arena_alloc_array(arena, count, sizeof(*redrive->call.results)),
        .capacity = count,
        .done = stored,
        .arg = redrive,
    };
    return *out_records != NULL && redrive->sent != NULL && redrive->call.results != NULL;
}

static void store(struct redrive *redrive, const struct produce_record *records, uint32_t count)
{
    struct produce *produce = redrive->gateway->produce;
    struct queue_read *read = &redrive->fetch.read;
    uint32_t kept = read->record_count;

    if (count == 0) {
        queue_fetch_give_back(&redrive->fetch, 0);
        respond(redrive);
        return;
    }
    produce_begin(produce, &redrive->call);
    for (uint32_t i = 0; i < count; i++) {
        ria_err err = produce_add(produce, &redrive->call, &records[i]);
        (void)err; /* its result says so */
    }
    bool is_under_way = produce_end(produce, &redrive->call);
    queue_read_drop(read); /* they were copied */
    read->record_count = kept;
    if (!is_under_way) {
        stored(&redrive->call);
    }
}

static void look_at(struct redrive *redrive)
{
    struct queue_read *read = &redrive->fetch.read;
    struct produce_record *records = NULL;
    uint32_t count = 0;

    if (!prepare(redrive, &records)) {
        fail_err(redrive, RIA_ERR_NOMEM);
        return;
    }
    for (uint32_t i = 0; i < read->record_count; i++) {
        const struct queue_record *record = &read->records[i];
        int64_t *floor = &redrive->floors[record->grant->range.partition];
        *floor = ria_max_i64(*floor, record->offset + 1);
        if (!redrive_matches(&redrive->filter, &record->record)) {
            continue;
        }
        redrive->matched++;
        ria_err err = redrive->dry_run ? RIA_ERR_EXISTS
                                       : redrive_record(
                                             &record->record,
                                             redrive->topic->partition_count,
                                             &redrive->request->arena,
                                             &records[count]
                                         );
        if (err == RIA_OK) {
            err = produce_check(redrive->gateway->produce, redrive->topic, &records[count]);
        }
        if (err == RIA_OK) {
            redrive->sent[count++] = i;
        }
    }
    redrive->looked_at = read->record_count;
    store(redrive, records, count);
}

static void received(struct queue_fetch *fetch, const struct failure *failure)
{
    struct redrive *redrive = fetch->arg;

    if (failure != NULL) {
        request_fail(redrive->request, failure);
    } else if (fetch->read.record_count == 0) {
        respond(redrive);
    } else {
        look_at(redrive);
    }
}

/* --- asking ------------------------------------------------------------------------------------*/

static bool take_cursor(struct redrive *redrive)
{
    struct ria_uuid cluster = cluster_id(redrive->gateway->cluster);
    struct cursor cursor;
    struct failure failure;

    if (redrive->cursor.size == 0) {
        return true;
    }
    cursor_verdict verdict =
        cursor_decode(redrive->cursor, CURSOR_TOPIC, &cluster, &redrive->request->arena, &cursor);
    if (verdict != CURSOR_FINE) {
        failure_of_cursor(&failure, verdict, "cursor");
        request_fail(redrive->request, &failure);
        return false;
    }
    if (!ria_uuid_equal(cursor.topics[0].id, redrive->letters->id)) {
        failure_set(
            &failure, 400, "other_cursor", "cursor", "the cursor is of another dead-letter topic"
        );
        request_fail(redrive->request, &failure);
        return false;
    }
    for (uint32_t i = 0; i < cursor.topics[0].count; i++) {
        const struct cursor_entry *entry = &cursor.topics[0].entries[i];
        if (entry->partition < redrive->letters->partition_count) {
            redrive->floors[entry->partition] = entry->offset;
        }
    }
    return true;
}

static void opened(struct group_op *op, const struct group_op_result *result)
{
    struct redrive *redrive = op->arg;
    struct failure failure;

    if (result->err != RIA_OK) {
        group_failure(&failure, result);
        request_fail(redrive->request, &failure);
        return;
    }
    queue_fetch_start(&redrive->fetch);
}

static void open_group(struct redrive *redrive)
{
    struct queue_fetch *fetch = &redrive->fetch;

    fetch->gateway = redrive->gateway;
    fetch->arena = &redrive->request->arena;
    fetch->group = redrive->redrive_group;
    fetch->topic = redrive->letters;
    fetch->consumer = RIA_SLICE_LITERAL("redrive");
    fetch->lock_ms = REDRIVE_LOCK_MS;
    fetch->bytes_max = REDRIVE_BYTES;
    fetch->floors = redrive->floors;
    fetch->is_admin = true;
    fetch->done = received;
    fetch->arg = redrive;
    queue_open_init(&redrive->open);
    redrive->open.group = redrive->redrive_group;
    redrive->open.deliveries_max = REDRIVE_DELIVERIES;
    redrive->open.retry_ms = NULL;
    redrive->open.dead_topic = RIA_SLICE_EMPTY;
    redrive->op = (struct group_op){
        .kind = GROUP_OP_QUEUE_OPEN,
        .body = &redrive->open,
        .deadline_us = ria_clock_mono_us(redrive->gateway->env->clock) +
                       (int64_t)redrive->gateway->options.request_timeout_ms * 1000,
        .repeat = true,
        .done = opened,
        .arg = redrive,
    };
    group_op_start(&redrive->gateway->group_ops, &redrive->op);
}

static bool find_letters(struct redrive *redrive, const struct describe_groups_response *found)
{
    struct failure failure;
    struct ria_arena *arena = &redrive->request->arena;
    struct ria_slice dead_topic = queue_dead_resolve(
        arena, found->groups[0].dead_topic, redrive->topic->name, redrive->describe.name
    );
    const char *name = ria_arena_strdup(arena, dead_topic);

    if (name == NULL) {
        request_fail_err(redrive->request, RIA_ERR_NOMEM, "");
        return false;
    }
    if (dead_topic.size == 0) {
        failure_set(
            &failure, 409, "conflict", "group", "the queue has no dead-letter topic to redrive from"
        );
        request_fail(redrive->request, &failure);
        return false;
    }
    redrive->letters = cluster_topic_by_name(redrive->gateway->cluster, name);
    if (redrive->letters == NULL || redrive->letters->partition_count == 0) {
        respond(redrive); /* nothing has ever been dead */
        return false;
    }
    redrive->floors = ria_arena_alloc_array(
        &redrive->request->arena, (size_t)redrive->letters->partition_count, sizeof(int64_t)
    );
    if (redrive->floors == NULL) {
        request_fail_err(redrive->request, RIA_ERR_NOMEM, "");
        return false;
    }
    return take_cursor(redrive);
}

static void described(void *arg, ria_err err, const char *text, const void *response)
{
    const struct describe_groups_response *found = response;
    struct redrive *redrive = arg;
    struct failure failure;

    if (err != RIA_OK && err != RIA_ERR_NOT_FOUND) {
        request_fail_err(redrive->request, err, text);
        return;
    }
    if (err == RIA_ERR_NOT_FOUND || found->groups_count == 0 || found->groups[0].mode == 0) {
        failure_set(&failure, 404, "not_found", "group", "there is no such queue");
        request_fail(redrive->request, &failure);
        return;
    }
    if (find_letters(redrive, found)) {
        open_group(redrive);
    }
}

/* --- the request -------------------------------------------------------------------------------*/

static bool refuse(struct redrive *redrive, const char *field, const char *rule)
{
    struct failure failure;

    failure_set(&failure, 400, "invalid", field, "%s %s", field, rule);
    request_fail(redrive->request, &failure);
    return false;
}

static bool
take_text(struct redrive *redrive, const json_t *filter, const char *name, struct ria_slice *out)
{
    const json_t *value = json_object_get(filter, name);

    *out = RIA_SLICE_NULL;
    if (value == NULL || json_is_null(value)) {
        return true;
    }
    *out = document_scalar(value, &redrive->request->arena);
    return !ria_slice_is_null(*out) || refuse(redrive, name, "must be a string");
}

static bool take_time(struct redrive *redrive, const json_t *filter, const char *name, int64_t *out)
{
    struct ria_slice text;

    return take_text(redrive, filter, name, &text) &&
           (ria_slice_is_null(text) || deliver_at_parse(text, out) ||
            refuse(redrive, name, "must be a time (RFC 3339), or milliseconds since 1970"));
}

static bool take_filter(struct redrive *redrive, const json_t *filter)
{
    static const char *const known[] = {"reason", "key", "from_time", "to_time", NULL};
    struct failure failure;

    redrive->filter.to_ms = INT64_MAX;
    if (filter == NULL) {
        return true;
    }
    if (!json_is_object(filter)) {
        return refuse(redrive, "filter", "must be an object");
    }
    if (!document_known(filter, known, &failure)) {
        request_fail(redrive->request, &failure);
        return false;
    }
    return take_text(redrive, filter, "reason", &redrive->filter.reason) &&
           take_text(redrive, filter, "key", &redrive->filter.key) &&
           take_time(redrive, filter, "from_time", &redrive->filter.from_ms) &&
           take_time(redrive, filter, "to_time", &redrive->filter.to_ms);
}

static bool take_all(struct queue_input *input, struct redrive *redrive)
{
    struct group_input *in = &input->in;
    const json_t *dry_run = json_object_get(in->document, "dry_run");
    struct ria_slice cursor;
    int64_t records = 0;

    if (!group_input_i64(in, "max_records", 1, QUEUE_RECORDS_MAX, REDRIVE_DEFAULT, &records) ||
        !group_input_i64(in, "rate", 1, INT32_MAX, 0, &redrive->rate) ||
        !group_input_text(in, "cursor", &cursor) ||
        !take_filter(redrive, json_object_get(in->document, "filter"))) {
        return false;
    }
    if (dry_run != NULL && !json_is_boolean(dry_run)) {
        return refuse(redrive, "dry_run", "must be true or false");
    }
    const char *copy = ria_arena_strdup(&redrive->request->arena, cursor);
    redrive->redrive_group = queue_redrive_group(&redrive->request->arena, in->group);
    if (copy == NULL || ria_slice_is_null(redrive->redrive_group)) {
        request_fail_err(redrive->request, RIA_ERR_NOMEM, "");
        return false;
    }
    redrive->cursor = ria_slice_of(copy, cursor.size);
    redrive->dry_run = json_is_true(dry_run);
    redrive->fetch.records_max =
        (int32_t)(redrive->rate == 0 ? records : ria_min_i64(records, redrive->rate));
    redrive->filter.topic = ria_slice_cstr(input->topic->name);
    redrive->filter.group = in->group;
    return true;
}

void handle_queue_redrive(struct gateway *gateway, struct request *request)
{
    static const char *const known[] = {"filter", "max_records", "rate", "dry_run", "cursor", NULL};
    struct redrive *redrive = ria_arena_alloc(&request->arena, sizeof(*redrive));
    struct queue_input input;

    if (redrive == NULL) {
        request_fail_err(request, RIA_ERR_NOMEM, "");
        return;
    }
    if (!queue_input_open(&input, gateway, request, known)) {
        return;
    }
    redrive->gateway = gateway;
    redrive->request = request;
    redrive->topic = input.topic;
    bool fine = take_all(&input, redrive);
    queue_input_close(&input);
    if (!fine) {
        return;
    }
    describe_groups_request_init(&redrive->describe);
    redrive->describe.after = RIA_SLICE_EMPTY;
    redrive->describe.name = input.in.group;
    redrive->describe.limit = 1;
    ria_err err = coordinator_call(
        &gateway->coordinator,
        API_DESCRIBE_GROUPS,
        &redrive->describe,
        ADMIN_TIMEOUT_MS,
        described,
        redrive
    );
    if (err != RIA_OK) {
        request_fail_err(request, err, "");
    }
}
