/* .../subscription and .../assignments of a consumer instance: what it reads.
 *
 * A subscription joins at once: the plan is made, and those who begin at the end begin at the end
 * as it is now, not as it will be at the first poll. Topics, a pattern and partitions of one's own
 * choice exclude each other, as Confluent has it (40903); DELETE .../subscription ends any of them.
 */
#include <string.h>

#include "common/json.h"

#include "services/gateway/consumer_hold.h"
#include "services/gateway/consumer_input.h"
#include "services/gateway/consumer_topics.h"

/* --- done --------------------------------------------------------------------------------------*/

static void respond_done(struct consumer_call *call)
{
    request_respond_static(call->request, 204, NULL, NULL);
}

/* Whatever could not be found out is found at the first poll. */
static void started(struct consumer_hold *hold, const struct failure *failure)
{
    (void)failure;
    respond_done(hold->call);
}

/* Joined: the places to begin. */
static void joined(struct consumer_call *call)
{
    struct ria_arena *arena = &call->request->arena;
    struct consumer_hold *hold = NULL;
    struct consumer_at *at = NULL;
    uint32_t count = 0;

    if (call->instance.from_latest && call->assigned_count > 0) {
        hold = ria_arena_alloc(arena, sizeof(*hold));
        at = ria_arena_alloc_array(arena, call->assigned_count, sizeof(*at));
    }
    for (uint32_t i = 0; at != NULL && i < call->assigned_count; i++) {
        const consumer_assigned *assigned = &call->assigned[i];
        struct cluster_partition *partition =
            cluster_partition(call->gateway->cluster, &assigned->topic_id, assigned->partition);
        if (partition != NULL) {
            at[count++] = (struct consumer_at){
                .partition = partition,
                .offset = -1,
                .timestamp_ms = -1,
            };
        }
    }
    if (hold == NULL || count == 0 || !consumer_sort(at, count)) {
        respond_done(call);
        return;
    }
    hold->call = call;
    hold->at = at;
    hold->count = count;
    hold->done = started;
    if (consumer_hold_start(hold) != RIA_OK) {
        respond_done(call);
    }
}

/* --- POST .../subscription ---------------------------------------------------------------------*/

static void refuse_mixture(struct consumer_call *call)
{
    consumer_refuse(
        call->request,
        40903,
        "subscription",
        "topics, a topic_pattern and assigned partitions exclude each other; DELETE "
        ".../subscription first"
    );
}

static bool is_no_queue(struct consumer_call *call, const struct cluster_topic *topic)
{
    if (topic->config.delivery == TOPIC_DELIVERY_QUEUE) {
        consumer_refuse(
            call->request,
            40002,
            "topic",
            "topic %s is a queue (setting delivery): POST /v1/queues/{topic}/{group}/receive",
            topic->name
        );
        return false;
    }
    return true;
}

/* NULL, and answered: there is none of the name that could be subscribed to. */
static const struct cluster_topic *find_topic(struct consumer_call *call, const json_t *name)
{
    if (!json_is_string(name)) {
        consumer_refuse(call->request, 422, "topics", "topics must be names");
        return NULL;
    }
    const struct cluster_topic *topic =
        consumer_topic(call, ria_slice_of(json_string_value(name), json_string_length(name)));
    return topic == NULL || !is_no_queue(call, topic) ? NULL : topic;
}

static bool add_topic(struct consumer_call *call, const struct cluster_topic *topic)
{
    struct consumer_instance *instance = &call->instance;
    struct group_member *member = &call->member;

    for (uint32_t i = 0; i < member->subscription_count; i++) {
        if (ria_uuid_equal(member->subscription[i], topic->id)) {
            return true;
        }
    }
    const char *name = ria_arena_strdup(&call->request->arena, ria_slice_cstr(topic->name));
    if (name == NULL) {
        request_fail_err(call->request, RIA_ERR_NOMEM, "");
        return false;
    }
    member->subscription[member->subscription_count++] = topic->id;
    instance->topics[instance->topics_count++] = ria_slice_cstr(name);
    return true;
}

static bool take_topics(struct consumer_call *call, const json_t *names)
{
    struct consumer_instance *instance = &call->instance;
    size_t count = json_array_size(names);

    if (!json_is_array(names) || count == 0 || count > CONSUMER_TOPICS_MAX) {
        consumer_refuse(
            call->request, 422, "topics", "topics must be 1 to %d names", CONSUMER_TOPICS_MAX
        );
        return false;
    }
    instance->topics_count = 0;
    instance->topics =
        ria_arena_alloc_array(&call->request->arena, count, sizeof(*instance->topics));
    if (instance->topics == NULL) {
        request_fail_err(call->request, RIA_ERR_NOMEM, "");
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        const struct cluster_topic *topic = find_topic(call, json_array_get(names, i));
        if (topic == NULL || !add_topic(call, topic)) {
            return false;
        }
    }
    return true;
}

static bool take_pattern(struct consumer_call *call, const json_t *text)
{
    struct ria_slice pattern = RIA_SLICE_EMPTY;
    const char *reason = "it must be a string";
    struct topic_pattern *compiled = NULL;

    if (json_is_string(text)) {
        pattern = ria_slice_of(json_string_value(text), json_string_length(text));
        compiled = topic_pattern_new(pattern, &reason);
    }
    if (compiled == NULL) {
        consumer_refuse(
            call->request, 422, "topic_pattern", "topic_pattern cannot be taken: %s", reason
        );
        return false;
    }
    uint32_t matching = consumer_topics_match(
        call, compiled, call->member.subscription, &call->member.subscription_count
    );
    topic_pattern_free(compiled);
    if (matching > CONSUMER_TOPICS_MAX) {
        consumer_refuse(
            call->request,
            422,
            "topic_pattern",
            "topic_pattern matches %u topics; a consumer reads at most %d",
            (unsigned)matching,
            CONSUMER_TOPICS_MAX
        );
        return false;
    }
    const char *copy = ria_arena_strdup(&call->request->arena, pattern);
    if (copy == NULL) {
        request_fail_err(call->request, RIA_ERR_NOMEM, "");
        return false;
    }
    call->instance.pattern = ria_slice_of(copy, pattern.size);
    return true;
}

static bool take_subscription(struct consumer_call *call, const json_t *document)
{
    static const char *const known[] = {"topics", "topic_pattern", NULL};
    const json_t *topics = json_object_get(document, "topics");
    const json_t *pattern = json_object_get(document, "topic_pattern");
    bool has_topics = topics != NULL && !json_is_null(topics);
    bool has_pattern = pattern != NULL && !json_is_null(pattern);
    bool had_pattern = call->instance.pattern.size > 0;

    if (!consumer_known(call->request, document, known)) {
        return false;
    }
    if (!has_topics && !has_pattern) {
        consumer_refuse(
            call->request, 422, "topics", "the body must have topics or a topic_pattern"
        );
        return false;
    }
    if ((has_topics && has_pattern) || consumer_chose(call) || (has_topics && had_pattern) ||
        (has_pattern && !had_pattern && consumer_subscribes(call))) {
        refuse_mixture(call);
        return false;
    }
    return has_topics ? take_topics(call, topics) : take_pattern(call, pattern);
}

static void subscribe(struct consumer_call *call)
{
    struct group_member *member = consumer_member(call);
    json_t *document = NULL;

    if (!consumer_document(call->request, false, &document)) {
        return;
    }
    member->subscription = ria_arena_alloc_array(
        &call->request->arena, CONSUMER_TOPICS_MAX, sizeof(*member->subscription)
    );
    if (member->subscription == NULL) {
        json_decref(document);
        request_fail_err(call->request, RIA_ERR_NOMEM, "");
        return;
    }
    bool fine = take_subscription(call, document);
    json_decref(document);
    if (fine) {
        call->instance.answering = 0; /* long enough was waited for that answer */
        member->detail = consumer_detail(call);
        consumer_member_send(call, joined);
    }
}

void handle_consumer_subscribe(struct gateway *gateway, struct request *request)
{
    struct consumer_call *call = consumer_call_new(gateway, request);

    if (call != NULL) {
        (void)consumer_open(call, subscribe);
    }
}

/* --- GET and DELETE .../subscription -----------------------------------------------------------*/

static const char *topic_name(const struct consumer_call *call, const struct ria_uuid *id)
{
    const struct cluster_topic *topic = cluster_topic_by_id(call->gateway->cluster, id);

    return topic == NULL || topic->deleted ? NULL : topic->name;
}

/* The names that it asked for, whether there is a topic or not; of a pattern what it has found. */
static ria_err render_topics(const struct consumer_call *call, struct ria_buf *out)
{
    const struct consumer_instance *instance = &call->instance;
    bool any = false;

    RIA_TRY(ria_buf_append_str(out, "{\"topics\":["));
    for (uint32_t i = 0; i < instance->topics_count; i++) {
        RIA_TRY(ria_buf_append_str(out, i > 0 ? "," : ""));
        RIA_TRY(ria_json_append_string(out, instance->topics[i]));
    }
    if (instance->topics_count > 0) {
        return ria_buf_append_str(out, "]");
    }
    for (uint32_t i = 0; i < call->topic_count; i++) {
        const char *name = topic_name(call, &call->topics[i]);
        if (name != NULL) {
            RIA_TRY(ria_buf_printf(out, "%s\"%s\"", any ? "," : "", name));
            any = true;
        }
    }
    return ria_buf_append_str(out, "]");
}

/* Strimzi's: [{"t":[0,1]}] */
static ria_err render_partitions(const struct consumer_call *call, struct ria_buf *out)
{
    bool any = false;

    RIA_TRY(ria_buf_append_str(out, ",\"partitions\":["));
    for (uint32_t i = 0; i < call->topic_count; i++) {
        const char *name = topic_name(call, &call->topics[i]);
        bool first = true;
        if (name == NULL) {
            continue;
        }
        RIA_TRY(ria_buf_printf(out, "%s{\"%s\":[", any ? "," : "", name));
        for (uint32_t k = 0; k < call->assigned_count; k++) {
            if (ria_uuid_equal(call->assigned[k].topic_id, call->topics[i])) {
                RIA_TRY(
                    ria_buf_printf(out, "%s%d", first ? "" : ",", (int)call->assigned[k].partition)
                );
                first = false;
            }
        }
        RIA_TRY(ria_buf_append_str(out, "]}"));
        any = true;
    }
    return ria_buf_append_str(out, "]}");
}

static void tell_subscription(struct consumer_call *call)
{
    struct ria_buf out;

    ria_buf_init(&out, DOCUMENT_MAX);
    ria_err err = render_topics(call, &out);
    if (err == RIA_OK) {
        err = render_partitions(call, &out);
    }
    consumer_respond(call->request, err, &out);
}

void handle_consumer_subscription(struct gateway *gateway, struct request *request)
{
    struct consumer_call *call = consumer_call_new(gateway, request);

    if (call != NULL) {
        (void)consumer_open(call, tell_subscription);
    }
}

static void unsubscribe(struct consumer_call *call)
{
    struct group_member *member = consumer_member(call);

    call->instance.pattern = RIA_SLICE_EMPTY;
    call->instance.topics_count = 0;
    call->instance.answering = 0;
    member->detail = consumer_detail(call);
    member->subscription = ria_arena_empty();
    consumer_member_send(call, respond_done);
}

void handle_consumer_unsubscribe(struct gateway *gateway, struct request *request)
{
    struct consumer_call *call = consumer_call_new(gateway, request);

    if (call != NULL) {
        (void)consumer_open(call, unsubscribe);
    }
}

/* --- .../assignments ---------------------------------------------------------------------------*/

static bool take_choice(struct consumer_call *call, const json_t *document)
{
    static const char *const known[] = {"partitions", NULL};
    const json_t *array = json_object_get(document, "partitions");
    struct group_member *member = &call->member;
    struct consumer_at *at = NULL;
    uint32_t count = 0;

    if (!consumer_known(call->request, document, known)) {
        return false;
    }
    if (array == NULL) {
        consumer_refuse(call->request, 422, "partitions", "partitions is missing");
        return false;
    }
    if (!consumer_partitions(call, array, "partitions", WANT_PARTITION, &at, &count)) {
        return false;
    }
    if (!consumer_sort(at, count)) {
        consumer_refuse(call->request, 422, "partitions", "a partition is there twice");
        return false;
    }
    member->assignment =
        ria_arena_alloc_array(&call->request->arena, count, sizeof(*member->assignment));
    if (member->assignment == NULL) {
        request_fail_err(call->request, RIA_ERR_NOMEM, "");
        return false;
    }
    uint32_t topics = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!is_no_queue(call, at[i].partition->topic)) {
            return false;
        }
        topics += i == 0 || at[i].partition->topic != at[i - 1].partition->topic;
        member->assignment[i].topic_id = at[i].partition->topic->id;
        member->assignment[i].partition = at[i].partition->number;
    }
    member->assignment_count = count;
    if (topics > CONSUMER_TOPICS_MAX) {
        consumer_refuse(
            call->request,
            422,
            "partitions",
            "partitions are of %u topics; a consumer reads at most %d",
            (unsigned)topics,
            CONSUMER_TOPICS_MAX
        );
        return false;
    }
    return true;
}

static void assign(struct consumer_call *call)
{
    json_t *document = NULL;

    (void)consumer_member(call);
    if (consumer_subscribes(call)) {
        refuse_mixture(call);
        return;
    }
    if (!consumer_document(call->request, false, &document)) {
        return;
    }
    bool fine = take_choice(call, document);
    json_decref(document);
    if (fine) {
        consumer_member_send(call, joined);
    }
}

void handle_consumer_assign(struct gateway *gateway, struct request *request)
{
    struct consumer_call *call = consumer_call_new(gateway, request);

    if (call != NULL) {
        (void)consumer_open(call, assign);
    }
}

static void tell_assignments(struct consumer_call *call)
{
    struct ria_buf out;
    bool any = false;

    ria_buf_init(&out, DOCUMENT_MAX);
    ria_err err = ria_buf_append_str(&out, "{\"partitions\":[");
    for (uint32_t i = 0; err == RIA_OK && i < call->assigned_count; i++) {
        const char *name = topic_name(call, &call->assigned[i].topic_id);
        if (name != NULL) {
            err = ria_buf_printf(
                &out,
                "%s{\"topic\":\"%s\",\"partition\":%d}",
                any ? "," : "",
                name,
                (int)call->assigned[i].partition
            );
            any = true;
        }
    }
    if (err == RIA_OK) {
        err = ria_buf_append_str(&out, "]}");
    }
    consumer_respond(call->request, err, &out);
}

void handle_consumer_assignments(struct gateway *gateway, struct request *request)
{
    struct consumer_call *call = consumer_call_new(gateway, request);

    if (call != NULL) {
        (void)consumer_open(call, tell_assignments);
    }
}
