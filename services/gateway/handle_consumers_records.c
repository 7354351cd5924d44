/* GET /consumers/{group}/instances/{instance}/records: one poll.
 *
 *   the member -> its topics as they are now -> Read, held leases (group_fetch.h) -> the mark ->
 * answer
 *        -> the socket has it: delivered (consumer_notes.h)
 *
 * With auto.commit.enable the Read commits what the polls before have delivered. */
#include <string.h>

#include "services/gateway/consumer_input.h"
#include "services/gateway/consumer_notes.h"
#include "services/gateway/consumer_topics.h"
#include "services/gateway/group_fetch.h"
#include "services/gateway/render_v2.h"

enum {
    READ_BYTES_DEFAULT = 1024 * 1024,
    READ_TEXT_MAX = 16 * 1024 * 1024,   /* no further record is rendered past it */
    READ_TEXT_HARD = 128 * 1024 * 1024, /* with the last record, in the longest encoding */
    PAUSE_US_MIN = 25 * 1000,
    PAUSE_US_MAX = 1000 * 1000,
    HEARD_US = 100 * 1000, /* so long what was told of the member is good for its detail */
    MARKS_MAX = 5,
};

static const char *const json_types[] = {
    "application/vnd.kafka.json.v2+json",
    "application/vnd.kafka.json+json",
    NULL,
};

/* A type without a format means base64. */
static const char *const binary_types[] = {
    "application/vnd.kafka.binary.v2+json",
    "application/vnd.kafka.binary+json",
    TYPE_V2,
    "application/vnd.kafka+json",
    TYPE_JSON,
    NULL,
};

struct consumer_poll {
    struct consumer_call *call;
    const char *type;
    int64_t timeout_ms; /* -1: the instance's */
    int64_t bytes_max;
    bool extras;
    int64_t until_us;
    int64_t heard_us; /* when the member was told */
    uint32_t marks;   /* attempts */
    int64_t pause_us;
    bool fetching;
    bool asked_before;
    struct group_fetch fetch;
    struct ria_list link; /* in gateway->consumer_polls while the mark is being set */
    struct consumer_note *note;
};

static void read_once(struct consumer_call *call);
static void refresh(struct consumer_call *call);

static int64_t now_us(const struct consumer_poll *p)
{
    return ria_clock_mono_us(p->call->gateway->env->clock);
}

/* --- the answer --------------------------------------------------------------------------------*/

static void respond(struct consumer_poll *p, struct ria_buf *out)
{
    struct budget *budget = p->call->gateway->budget;
    struct response response = {.status = 200, .content_type = p->type};
    uint8_t *text = NULL;
    size_t size = 0;

    ria_buf_take(out, &text, &size);
    gate_resize(budget, 0, size);
    if (gate_fill_response(&response, budget, NULL, text, ria_slice_of(text, size))) {
        request_respond(p->call->request, &response);
        return;
    }
    if (p->note != NULL) {
        consumer_note_end(RIA_STEAL(&p->note), false);
    }
    request_fail_err(p->call->request, RIA_ERR_NOMEM, "");
}

static void respond_none(struct consumer_poll *p)
{
    request_respond_static(p->call->request, 200, p->type, "[]");
}

/* The whole of it is in the socket, or not. */
static void ended(void *arg, bool complete)
{
    struct consumer_poll *p = arg;

    if (p->note != NULL) {
        consumer_note_end(RIA_STEAL(&p->note), complete);
    }
}

static void hung_up(void *arg)
{
    struct consumer_poll *p = arg;

    if (p->fetching) {
        group_fetch_hang_up(&p->fetch);
    }
}

/* Records of all that were read, as far as the limits allow; sets held->next. */
static ria_err render_all(struct consumer_poll *p, struct ria_buf *out)
{
    struct render_v2 render = {
        .is_json = p->call->instance.format == CONSUMER_JSON,
        .extras = p->extras,
        .bytes_max = p->bytes_max,
        .size_max = READ_TEXT_MAX,
    };

    RIA_TRY(ria_buf_reserve(out, p->fetch.reading.charged * 3 / 2 + 512));
    RIA_TRY(ria_buf_append_str(out, "["));
    for (uint32_t i = 0; i < p->fetch.held_count; i++) {
        struct group_held *held = &p->fetch.held[i];
        if (held->msg != NULL) {
            RIA_TRY(render_v2_batches(
                &render,
                held->partition->topic->name,
                held->partition->number,
                held->batches,
                held->offset,
                out,
                &held->next
            ));
        }
    }
    return ria_buf_append_str(out, "]");
}

static void mark(struct consumer_poll *p);

/* The member was changed since it was told: by what it is now, once more. */
static void mark_again(struct consumer_poll *p, const struct group_member_result *told)
{
    struct consumer_call *call = p->call;

    if (p->marks == MARKS_MAX) {
        group_fetch_release(&p->fetch);
        request_fail_err(call->request, RIA_ERR_BUSY, "the instance is changed all the time");
    } else if (!consumer_take_member(call, told)) {
        group_fetch_release(&p->fetch);
    } else {
        mark(p);
    }
}

static void give(struct consumer_poll *p)
{
    struct consumer_call *call = p->call;
    struct ria_buf out;

    ria_buf_init(&out, READ_TEXT_HARD);
    ria_err err = render_all(p, &out);
    p->note = consumer_note_new(
        &call->gateway->consumer_notes, call, p->fetch.held, err == RIA_OK ? p->fetch.held_count : 0
    );
    group_fetch_release(&p->fetch);
    if (err == RIA_OK && p->note != NULL) {
        respond(p, &out);
        return;
    }
    ria_buf_fini(&out);
    if (p->note != NULL) {
        consumer_note_end(RIA_STEAL(&p->note), false);
    }
    request_fail_err(call->request, err == RIA_ERR_MALFORMED ? RIA_ERR_CORRUPT : RIA_ERR_NOMEM, "");
}

/* The mark is set, or it could not be: then the answer is not given. */
static void marked(struct group_op *op, const struct group_op_result *result)
{
    struct consumer_poll *p = op->arg;
    struct consumer_call *call = p->call;
    const struct group_member_result *told = result->body;

    ria_list_remove(&p->link);
    if (result->err != RIA_OK) {
        group_fetch_release(&p->fetch);
        consumer_fail(call->request, result);
    } else if (!ria_slice_equal(told->detail, call->member.detail)) {
        mark_again(p, told);
    } else {
        call->detail_hash = consumer_detail_hash(told->detail);
        give(p);
    }
}

static void mark(struct consumer_poll *p)
{
    struct consumer_call *call = p->call;
    struct group_member *member = consumer_member(call);

    p->marks++;
    call->instance.answering = (int64_t)(ria_rand_u64(call->gateway->env->rand) >> 1) | 1;
    member->detail = consumer_detail(call);
    member->detail_hash = call->detail_hash;
    ria_list_push_back(&call->gateway->consumer_polls, &p->link);
    consumer_member_op(call, marked);
    call->op.arg = p;
}

static void heard_again(struct group_op *op, const struct group_op_result *result)
{
    struct consumer_poll *p = op->arg;

    ria_list_remove(&p->link);
    if (result->err != RIA_OK) {
        group_fetch_release(&p->fetch);
        consumer_fail(p->call->request, result);
    } else if (!consumer_take_member(p->call, result->body)) {
        group_fetch_release(&p->fetch);
    } else {
        mark(p);
    }
}

/* The mark is written with all of the detail. Who has waited for records may have slept through
 * another subscription. */
static void renew_and_mark(struct consumer_poll *p)
{
    struct consumer_call *call = p->call;

    if (now_us(p) - p->heard_us < HEARD_US) {
        mark(p);
        return;
    }
    ria_list_push_back(&call->gateway->consumer_polls, &p->link);
    (void)consumer_member(call);
    consumer_member_op(call, heard_again);
    call->op.arg = p;
}

void consumer_polls_fini(struct gateway *gateway)
{
    struct ria_list *link;

    while ((link = ria_list_pop_front(&gateway->consumer_polls)) != NULL) {
        group_reading_drop(&RIA_CONTAINER(link, struct consumer_poll, link)->fetch.reading);
    }
}

/* --- reading -----------------------------------------------------------------------------------*/

/* Later, if there is time. */
static bool rest(struct consumer_poll *p, consumer_fn fn)
{
    int64_t left_us = p->until_us - now_us(p);

    if (left_us <= 0 || p->call->gateway->stopping) {
        return false;
    }
    consumer_pause(p->call, ria_min_i64(left_us, p->pause_us), fn);
    p->pause_us = ria_min_i64(p->pause_us * 2, PAUSE_US_MAX);
    return true;
}

static size_t bytes_read(const struct group_fetch *fetch)
{
    size_t bytes = 0;

    for (uint32_t i = 0; i < fetch->held_count; i++) {
        bytes += fetch->held[i].msg == NULL ? 0 : fetch->held[i].batches.size;
    }
    return bytes;
}

/* A topic that was deleted meanwhile is no failure: the subscription goes on without it. The Read
 * as a whole was refused, so it has committed nothing. */
static void failed(struct consumer_poll *p, const struct failure *failure)
{
    struct failure copy = *failure;

    if (strcmp(failure->code, "unknown_topic") == 0 && consumer_subscribes(p->call)) {
        p->asked_before = false;
        if (!rest(p, refresh)) {
            respond_none(p);
        }
        return;
    }
    consumer_fail_as(&copy);
    request_fail(p->call->request, &copy);
}

static void fetched(struct group_fetch *fetch, const struct failure *failure)
{
    struct consumer_poll *p = fetch->arg;
    struct gateway *gateway = p->call->gateway;
    size_t bytes = 0;

    p->fetching = false;
    if (failure != NULL) {
        failed(p, failure);
        return;
    }
    bytes = bytes_read(fetch);
    if (bytes == 0) {
        group_fetch_release(fetch);
        respond_none(p);
        return;
    }
    if (bytes < (size_t)ria_max_i64(p->call->instance.fetch_min_bytes, 0) && rest(p, read_once)) {
        group_fetch_release(fetch); /* it is given again: nothing was noted */
        return;
    }
    gateway->numbers.fetches.value += fetch->held_count;
    gateway->numbers.fetched_bytes.value += bytes;
    renew_and_mark(p);
}

static bool
has_topic(const struct group_fetch *fetch, uint32_t count, const struct cluster_topic *topic)
{
    for (uint32_t i = 0; i < count; i++) {
        if (fetch->topics[i] == topic) {
            return true;
        }
    }
    return false;
}

static void add_topic(struct consumer_poll *p, const struct ria_uuid *id)
{
    struct group_fetch *fetch = &p->fetch;
    struct cluster_topic *topic = cluster_topic_by_id(p->call->gateway->cluster, id);

    if (topic != NULL && !topic->deleted && topic->partition_count > 0 &&
        fetch->topic_count < CONSUMER_TOPICS_MAX && !has_topic(fetch, fetch->topic_count, topic)) {
        fetch->topics[fetch->topic_count++] = topic;
    }
}

static bool take_topics(struct consumer_poll *p)
{
    const struct consumer_call *call = p->call;

    p->fetch.topics = ria_arena_alloc_array(
        &call->request->arena, CONSUMER_TOPICS_MAX, sizeof(struct cluster_topic *)
    );
    if (p->fetch.topics == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < call->topic_count; i++) {
        add_topic(p, &call->topics[i]);
    }
    for (uint32_t i = 0; i < call->assigned_count; i++) {
        add_topic(p, &call->assigned[i].topic_id);
    }
    return true;
}

static void read_once(struct consumer_call *call)
{
    struct consumer_poll *p = call->user;
    struct group_fetch *fetch = &p->fetch;

    *fetch = (struct group_fetch){
        .gateway = call->gateway,
        .arena = &call->request->arena,
        .group = call->group,
        .member = call->name,
        .member_epoch = call->epoch,
        .session_ms = call->gateway->options.consumer_session_ms,
        .hold = true,
        .commit_delivered = call->instance.auto_commit && !p->asked_before,
        .partitions_max = GROUP_PARTITIONS_MAX,
        .bytes_max = ria_max_i64(p->bytes_max, 1),
        .from_latest = call->instance.from_latest,
        .on_range = call->instance.from_latest ? GROUP_RANGE_LATEST : GROUP_RANGE_EARLIEST,
        .wait_until_us = p->until_us,
        .done = fetched,
        .arg = p,
    };
    if (!take_topics(p)) {
        request_fail_err(call->request, RIA_ERR_NOMEM, "");
        return;
    }
    if (fetch->topic_count == 0) {
        if (!rest(p, refresh)) {
            respond_none(p);
        }
        return;
    }
    p->asked_before = true;
    p->fetching = true;
    ria_err err = group_fetch_start(fetch);
    if (err != RIA_OK) {
        p->fetching = false;
        request_fail_err(call->request, err, "");
    }
}

/* --- topics ------------------------------------------------------------------------------------*/

/* A topic that this gateway knows was deleted meanwhile: it will hear of it. */
static void resubscribed(struct group_op *op, const struct group_op_result *result)
{
    struct consumer_call *call = op->arg;

    if (result->err != RIA_ERR_UNKNOWN_TOPIC) {
        consumer_member_told(call, result, read_once);
    } else if (!rest(call->user, refresh)) {
        respond_none(call->user);
    }
}

/* What its pattern or its names mean by now. */
static void refresh(struct consumer_call *call)
{
    struct ria_uuid *ids = NULL;
    uint32_t count = 0;
    const char *reason = NULL;
    struct topic_pattern *pattern = NULL;

    if (call->instance.pattern.size == 0 && call->instance.topics_count == 0) {
        read_once(call);
        return;
    }
    ids = ria_arena_alloc_array(&call->request->arena, CONSUMER_TOPICS_MAX, sizeof(*ids));
    if (call->instance.pattern.size > 0) {
        pattern = topic_pattern_new(call->instance.pattern, &reason);
    }
    if (ids == NULL || (pattern == NULL && call->instance.pattern.size > 0)) {
        topic_pattern_free(pattern);
        request_fail_err(call->request, RIA_ERR_NOMEM, "");
        return;
    }
    (void)consumer_topics_match(call, pattern, ids, &count);
    topic_pattern_free(pattern);
    if (consumer_topics_same(call, ids, count)) {
        read_once(call);
        return;
    }
    struct group_member *member = consumer_member(call);
    member->subscription = ids;
    member->subscription_count = count;
    member->detail_hash = call->detail_hash;
    consumer_member_op(call, resubscribed);
}

/* --- the request -------------------------------------------------------------------------------*/

static bool take_type(struct consumer_poll *p)
{
    struct request *request = p->call->request;
    bool is_json = p->call->instance.format == CONSUMER_JSON;
    const char *const *types = is_json ? json_types : binary_types;

    p->type = media_type_choose(request_header(request, "Accept"), types);
    if (p->type == NULL) {
        consumer_refuse(
            request,
            40601,
            "Accept",
            "the instance has format %s: its records come as %s",
            is_json ? "json" : "binary",
            types[0]
        );
    }
    return p->type != NULL;
}

static void opened(struct consumer_call *call)
{
    struct consumer_poll *p = call->user;
    int64_t timeout_ms = call->instance.request_timeout_ms;

    if (!take_type(p)) {
        return;
    }
    if (!consumer_subscribes(call) && call->assigned_count == 0) {
        consumer_refuse(
            call->request,
            40903,
            "subscription",
            "the instance has no subscription, and no partitions were assigned, or all topics of "
            "those were deleted"
        );
        return;
    }
    if (p->timeout_ms >= 0) {
        timeout_ms = ria_min_i64(timeout_ms, p->timeout_ms);
    }
    p->heard_us = now_us(p);
    p->until_us = call->request->received_us + timeout_ms * 1000;
    refresh(call);
}

/* The records would be delivered, and shown to nobody. */
static bool fail_head(struct request *request)
{
    if (request->is_head) {
        request_add_header(request, "Allow", "GET");
        consumer_refuse(request, 405, NULL, "a HEAD would deliver records");
    }
    return request->is_head;
}

static bool take_query(struct consumer_poll *p)
{
    static const char *const known[] = {"timeout", "max_bytes", "extras", NULL};
    struct request *request = p->call->request;
    struct ria_slice extras;
    int64_t bytes = -1;

    if (!gateway_query_known(request, known) ||
        !gateway_query_i64(request, "timeout", -1, INT64_MAX, -1, &p->timeout_ms) ||
        !gateway_query_i64(request, "max_bytes", -1, INT64_MAX, -1, &bytes)) {
        return false;
    }
    if (request_query(request, "extras", &extras) != RIA_OK ||
        (!ria_slice_is_null(extras) && !ria_slice_equal(extras, RIA_SLICE_LITERAL("true")) &&
         !ria_slice_equal(extras, RIA_SLICE_LITERAL("false")))) {
        consumer_refuse(request, 400, "extras", "extras must be true or false");
        return false;
    }
    p->extras = !ria_slice_equal(extras, RIA_SLICE_LITERAL("false"));
    p->bytes_max = bytes < 0 ? READ_BYTES_DEFAULT : ria_min_i64(bytes, RIA_FETCH_SIZE_MAX);
    return true;
}

void handle_consumer_records(struct gateway *gateway, struct request *request)
{
    struct consumer_call *call = consumer_call_new(gateway, request);
    struct consumer_poll *p = NULL;

    if (call == NULL || fail_head(request)) {
        return;
    }
    p = ria_arena_alloc(&request->arena, sizeof(*p));
    if (p == NULL) {
        request_fail_err(request, RIA_ERR_NOMEM, "");
        return;
    }
    p->call = call;
    p->pause_us = PAUSE_US_MIN;
    call->user = p;
    if (!take_query(p)) {
        return;
    }
    request_on_end(request, ended, p);
    request_on_hangup(request, hung_up, p);
    (void)consumer_open(call, opened);
}
