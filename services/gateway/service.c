#include "services/gateway/service.h"

#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/json.h"

#include "services/gateway/consumer_call.h"
#include "services/gateway/cors.h"
#include "services/gateway/gateway.h"
#include "services/gateway/group_fetch.h"
#include "services/gateway/queue_fetch.h"

static const char *const v2_answer_types[] = {
    TYPE_V2,
    "application/vnd.kafka+json",
    TYPE_JSON,
    NULL,
};

/* --- the cluster's view ------------------------------------------------------------------------*/

static void topic_changed(void *arg, struct cluster_topic *topic)
{
    struct gateway *gateway = arg;

    produce_topic_changed(gateway->produce, topic);
}

static void partition_changed(void *arg, struct cluster_partition *partition)
{
    struct gateway *gateway = arg;

    produce_partition_changed(gateway->produce, partition);
}

/* Once per news, not per partition: one node's death changes thousands. */
static void view_changed(void *arg)
{
    struct gateway *gateway = arg;

    produce_view_changed(gateway->produce);
    leader_calls_view_changed(&gateway->leaders);
    watches_view_changed(&gateway->watches);
    streams_view_changed(&gateway->streams);
    group_streams_view_changed(&gateway->group_streams);
}

static ria_err open_cluster(struct gateway *gateway)
{
    static const struct cluster_callbacks callbacks = {
        .topic = topic_changed,
        .partition = partition_changed,
        .done = view_changed,
    };
    struct membership_identity identity = {.role = PROCESS_GATEWAY};
    uint8_t random[RIA_UUID_SIZE];

    RIA_TRY(cluster_new(
        gateway->env, gateway->options.coordinator, &callbacks, gateway, &gateway->cluster
    ));
    ria_rand_bytes(gateway->env->rand, random, sizeof(random));
    identity.process_uuid = ria_uuid_v4(random);
    identity.incarnation = (int64_t)(ria_rand_u64(gateway->env->rand) >> 1);
    return membership_new(
        gateway->env, gateway->cluster, &identity, NULL, NULL, &gateway->membership
    );
}

/* --- metrics -----------------------------------------------------------------------------------*/

#define COUNTER(name, help, field) ria_metrics_add_counter(to, name, "", help, &(field))
#define GAUGE(name, help, field)   ria_metrics_add_gauge(to, name, "", help, &(field))

static void add_stream_metrics(struct ria_metrics *to, const struct stream_metrics *s)
{
    GAUGE("riacho_gateway_streams", "Live streams.", s->open);
    GAUGE("riacho_gateway_stream_flocks", "Groups of them that share reads.", s->flocks);
    COUNTER("riacho_gateway_streams_total", "Live streams begun.", s->opened);
    COUNTER(
        "riacho_gateway_streams_refused_total",
        "Streams answered 429 because of --max-streams.",
        s->refused
    );
    COUNTER("riacho_gateway_stream_records_total", "Records sent, per client.", s->records);
    COUNTER(
        "riacho_gateway_stream_filtered_total",
        "Records read and left out by filters, once for all who share them.",
        s->filtered
    );
    COUNTER("riacho_gateway_stream_pieces_total", "Reads rendered for streams.", s->pieces);
    COUNTER(
        "riacho_gateway_stream_evicted_total",
        "Streams whose client was too slow to share reads.",
        s->evicted
    );
}

static void add_group_metrics(
    struct ria_metrics *to, const struct group_ops_metrics *o, const struct group_watch_metrics *w
)
{
    COUNTER(
        "riacho_gateway_group_operations_total", "Operations on groups and queues.", o->operations
    );
    COUNTER("riacho_gateway_group_requests_total", "Requests that carried them.", o->requests);
    COUNTER("riacho_gateway_group_retries_total", "Operations sent again.", o->repeated);
    COUNTER("riacho_gateway_group_refused_total", "Operations refused: too many.", o->refused);
    GAUGE("riacho_gateway_group_operations_waiting", "Operations not sent yet.", o->waiting);
    GAUGE("riacho_gateway_group_waiting", "Consumers of groups that wait for work.", w->waiting);
    COUNTER("riacho_gateway_group_wakes_total", "Those of them that were woken.", w->woken);
}

static void add_queue_metrics(struct ria_metrics *to, const struct gateway_metrics *g)
{
    COUNTER(
        "riacho_gateway_queue_records_total", "Records of queues handed out.", g->queue_records
    );
    COUNTER(
        "riacho_gateway_queue_acks_total",
        "Locks acknowledged, given back, extended or rejected.",
        g->queue_acks
    );
    COUNTER("riacho_gateway_queue_late_total", "Those that were too late.", g->queue_late);
    COUNTER(
        "riacho_gateway_queue_gone_total",
        "Ranges of queues finished because their records do not exist any more.",
        g->queue_gone
    );
    COUNTER(
        "riacho_gateway_queue_buried_total", "Records put into dead-letter topics.", g->queue_buried
    );
    COUNTER(
        "riacho_gateway_queue_bury_failures_total",
        "Attempts to do so that failed.",
        g->queue_bury_failures
    );
    COUNTER(
        "riacho_gateway_queue_redriven_total",
        "Records put back from dead-letter topics.",
        g->queue_redriven
    );
}

static void add_metrics(struct gateway *gateway)
{
    struct ria_metrics *to = gateway->metrics;
    const struct produce_metrics *p = produce_metrics(gateway->produce);
    const struct gateway_metrics *g = &gateway->numbers;

    add_stream_metrics(to, &gateway->streams.metrics);
    add_group_metrics(to, &gateway->group_ops.numbers, &gateway->group_watch.numbers);
    add_queue_metrics(to, g);
    COUNTER("riacho_gateway_records_total", "Records taken to be stored.", p->records);
    COUNTER("riacho_gateway_record_bytes_total", "Their bytes in batches.", p->bytes);
    COUNTER("riacho_gateway_batches_total", "Batches sent, repeats included.", p->batches);
    COUNTER("riacho_gateway_batch_retries_total", "Batches sent again.", p->retries);
    COUNTER("riacho_gateway_records_failed_total", "Records not acknowledged.", p->failed_records);
    COUNTER(
        "riacho_gateway_records_unknown_total",
        "Those of them that may be stored all the same.",
        p->unknown_records
    );
    GAUGE("riacho_gateway_batches_in_flight", "Batches under way.", p->batches_in_flight);
    GAUGE(
        "riacho_gateway_stalled_bytes",
        "Batches of partitions without a leader that takes them.",
        p->stalled_bytes
    );
    GAUGE("riacho_gateway_inflight_bytes", "Bodies, batches and answers.", gateway->budget->used);
    COUNTER(
        "riacho_gateway_overloaded_total",
        "Requests refused because of --max-inflight-bytes, stalled partitions' share of it "
        "included.",
        gateway->budget->refused
    );
    COUNTER("riacho_gateway_fetches_total", "Reads answered with records.", g->fetches);
    COUNTER("riacho_gateway_fetched_bytes_total", "Bytes of their batches.", g->fetched_bytes);
    COUNTER(
        "riacho_gateway_fetches_saved_total",
        "Partitions that were read without their leader: what was fetched before had it.",
        gateway->fetch_cache.hits
    );
    GAUGE("riacho_gateway_waiting_reads", "Reads that wait for records.", g->waiting_reads);
    ria_metrics_add_histogram(
        to,
        "riacho_gateway_batch_ack_seconds",
        "",
        "From sending a batch to its answer.",
        &p->ack_us
    );
    ria_metrics_add_histogram(
        to,
        "riacho_gateway_produce_seconds",
        "",
        "From a request's head to its answer.",
        &g->produce_us
    );
    ria_metrics_add_histogram(
        to, "riacho_gateway_read_seconds", "", "The same of reads that found records.", &g->read_us
    );
}

#undef COUNTER
#undef GAUGE

/* --- life --------------------------------------------------------------------------------------*/

static void init_groups(struct gateway *gateway)
{
    group_ops_init(&gateway->group_ops, gateway->env, gateway->cluster);
    group_releases_init(&gateway->group_releases, &gateway->group_ops);
    ria_list_init(&gateway->group_fetches);
    consumer_notes_init(&gateway->consumer_notes, &gateway->group_ops);
    ria_list_init(&gateway->consumer_calls);
    ria_list_init(&gateway->consumer_polls);
    queue_acks_init(&gateway->queue_acks, &gateway->group_ops);
    queue_burials_init(&gateway->queue_burials, gateway);
    queue_fetches_init(gateway);
    group_watch_init(
        &gateway->group_watch, gateway->env, gateway->cluster, &gateway->watches, &gateway->marks
    );
}

ria_err gateway_new(
    const struct ria_env *env,
    const struct gateway_options *options,
    struct budget *budget,
    struct ria_metrics *metrics,
    struct gateway **out_gateway
)
{
    struct gateway *gateway = calloc(1, sizeof(*gateway));
    const struct produce_options produce_options = {
        .timeout_ms = options->request_timeout_ms,
        .linger_us = PRODUCE_LINGER_US,
        .batch_bytes = PRODUCE_BATCH_BYTES,
        .in_flight_max = PRODUCE_IN_FLIGHT_MAX,
    };

    if (gateway == NULL) {
        return RIA_ERR_NOMEM;
    }
    gateway->env = env;
    gateway->options = *options;
    if (gateway->options.consumer_session_ms == 0) {
        gateway->options.consumer_session_ms = CONSUMER_SESSION_MS_DEFAULT;
    }
    gateway->metrics = metrics;
    gateway->budget = budget;
    record_set_init(&gateway->records);
    ria_err err = open_cluster(gateway);
    coordinator_calls_init(&gateway->coordinator, env, gateway->cluster);
    leader_calls_init(&gateway->leaders, env, gateway->cluster);
    node_logs_init(&gateway->node_logs, env, gateway->cluster);
    watches_init(&gateway->watches, env, gateway->cluster, &gateway->marks);
    marks_init(&gateway->marks, env, gateway->cluster);
    init_groups(gateway);
    fetch_cache_init(&gateway->fetch_cache, env, budget);
    gate_init(&gateway->gate, env, budget, &gateway->fetch_cache);
    streams_init(
        &gateway->streams,
        env,
        gateway->cluster,
        &gateway->leaders,
        &gateway->watches,
        &gateway->gate,
        options->streams_max,
        options->request_timeout_ms
    );
    group_streams_init(&gateway->group_streams, gateway);
    if (err == RIA_OK) {
        err = produce_new(
            env,
            gateway->cluster,
            &gateway->coordinator,
            budget,
            &produce_options,
            &gateway->produce
        );
    }
    if (err != RIA_OK) {
        gateway_free(gateway);
        return err;
    }
    if (metrics != NULL) {
        add_metrics(gateway);
    }
    *out_gateway = gateway;
    return RIA_OK;
}

void gateway_start(struct gateway *gateway)
{
    cluster_start(gateway->cluster);
    membership_on_answer(gateway->membership, queue_bury_overdue, &gateway->queue_burials);
    membership_start(gateway->membership);
    produce_start(gateway->produce);
}

void gateway_stop(struct gateway *gateway)
{
    gateway->stopping = true;
    streams_stop(&gateway->streams);
    group_streams_stop(&gateway->group_streams);
    group_watch_end(&gateway->group_watch);
    watches_end(&gateway->watches);
}

bool gateway_is_idle(const struct gateway *gateway)
{
    return produce_is_idle(gateway->produce);
}

void gateway_free(struct gateway *gateway)
{
    if (gateway == NULL) {
        return;
    }
    produce_free(gateway->produce);
    streams_fini(&gateway->streams);
    group_watch_fini(&gateway->group_watch);
    group_ops_fini(&gateway->group_ops);
    /* What is under way is let go before the memory that it is in. */
    commit_checks_fini(&gateway->marks);
    marks_fini(&gateway->marks);
    watches_fini(&gateway->watches);
    gate_fini(&gateway->gate);
    leader_calls_fini(&gateway->leaders);
    coordinator_calls_fini(&gateway->coordinator);
    group_releases_fini(&gateway->group_releases);
    group_fetches_fini(gateway);
    consumer_polls_fini(gateway);
    consumer_notes_fini(&gateway->consumer_notes);
    consumer_calls_fini(gateway);
    queue_acks_fini(&gateway->queue_acks);
    queue_burials_fini(&gateway->queue_burials);
    queue_fetches_fini(gateway);
    fetch_cache_fini(&gateway->fetch_cache);
    group_streams_fini(&gateway->group_streams);
    node_logs_fini(&gateway->node_logs);
    membership_free(gateway->membership);
    cluster_free(gateway->cluster);
    record_set_fini(&gateway->records);
    free(gateway);
}

/* --- requests ----------------------------------------------------------------------------------*/

static void fail_match(struct request *request, route_match match)
{
    struct failure failure;

    switch (match) {
    case ROUTE_NO_PATH:
        failure_set(
            &failure,
            404,
            "unknown_path",
            NULL,
            "there is nothing at this path; GET /openapi.yaml describes what there is"
        );
        break;
    case ROUTE_NO_METHOD:
        failure_set(
            &failure, 405, "method_not_allowed", NULL, "this path has other methods: see Allow"
        );
        break;
    case ROUTE_BAD_PATH:
        failure_set(&failure, 400, "invalid_path", NULL, "the path has a malformed %%-escape");
        break;
    case ROUTE_NO_MEMORY:
    case ROUTE_FOUND:
        failure_of_err(&failure, RIA_ERR_NOMEM, "");
        break;
    }
    request_fail(request, &failure);
}

void gateway_begin(void *arg, struct request *request, size_t *out_body_max)
{
    const struct gateway *gateway = arg;
    struct failure failure;

    if (cors_begin(gateway->options.cors_origins, request)) {
        return;
    }
    route_match match = router_match(gateway_routes, request);
    if (match != ROUTE_FOUND) {
        fail_match(request, match);
        return;
    }
    /* Records have types of their own, which the instance decides. */
    if (request->route->is_v2 && request->route->handler != handle_consumer_records &&
        media_type_choose(request_header(request, "Accept"), v2_answer_types) == NULL) {
        failure_set(
            &failure, 406, "not_acceptable", "Accept", "answers come as " TYPE_V2 " or " TYPE_JSON
        );
        request_fail(request, &failure);
        return;
    }
    *out_body_max = request->route->body == ROUTE_BODY_RECORDS ? (size_t)gateway->options.body_max
                                                               : ROUTE_DOCUMENT_MAX;
}

void gateway_handle(void *arg, struct request *request)
{
    struct gateway *gateway = arg;

    request->route->handler(gateway, request);
}

/* Others do not store: nothing was done is what every refusal means. */
static bool stores_records(const struct route *route)
{
    return route->handler == handle_records_write || route->handler == handle_v2_produce;
}

void gateway_refuse(void *arg, struct request *request, int status, const char *text)
{
    const struct gateway *gateway = arg;
    struct failure failure;

    switch (status) {
    case 413:
        failure_set(
            &failure,
            413,
            "body_too_large",
            NULL,
            "the body is larger than %lld bytes, the limit of this path",
            request->route != NULL && request->route->body == ROUTE_BODY_RECORDS
                ? (long long)gateway->options.body_max
                : (long long)ROUTE_DOCUMENT_MAX
        );
        if (request->route != NULL && stores_records(request->route)) {
            failure.outcome = OUTCOME_NOT_STORED;
        }
        break;
    case 429:
        failure_overloaded(&failure);
        break;
    case 503:
        failure_of_write(&failure, RIA_ERR_SHUTDOWN, text);
        break;
    default:
        failure_set(&failure, status, "bad_request", NULL, "%s", text);
        break;
    }
    request_fail(request, &failure);
}

/* --- what handlers share -----------------------------------------------------------------------*/

void gateway_fail_not_ready(struct request *request)
{
    struct failure failure;

    failure_set(
        &failure,
        503,
        "not_ready",
        NULL,
        "the gateway has not heard from the coordinator yet and knows no topics"
    );
    failure.retry_after_s = 1;
    failure.outcome = OUTCOME_NOT_STORED;
    failure.v2_code = 50003;
    request_fail(request, &failure);
}

struct cluster_topic *gateway_topic(struct gateway *gateway, struct request *request)
{
    struct ria_slice name = request->params[0];
    char reason[FAILURE_MESSAGE_MAX];
    struct failure failure;

    struct cluster_topic *topic = cluster_topic_by_name(gateway->cluster, (const char *)name.data);
    if (topic != NULL && topic->partition_count > 0) {
        return topic;
    }
    if (topic_name_check(name, reason, sizeof(reason)) != RIA_OK) {
        failure_set(
            &failure, 404, "unknown_topic", "topic", "no topic can have this name: %s", reason
        );
    } else if (!cluster_is_ready(gateway->cluster)) {
        gateway_fail_not_ready(request);
        return NULL;
    } else {
        failure_set(
            &failure,
            404,
            "unknown_topic",
            "topic",
            "topic " RIA_SLICE_FMT " does not exist; create it with POST /v1/topics",
            RIA_SLICE_ARG(name)
        );
    }
    failure.v2_code = failure.status == 404 ? 40401 : 50003;
    request_fail(request, &failure);
    return NULL;
}

struct cluster_partition *
gateway_partition(struct gateway *gateway, struct request *request, struct cluster_topic *topic)
{
    struct failure failure;
    int64_t number = -1;

    (void)gateway;
    if (request_parse_i64(request->params[1], &number) && number >= 0 &&
        number < topic->partition_count) {
        return topic->partitions[number];
    }
    failure_set(
        &failure,
        404,
        "unknown_partition",
        "partition",
        "topic %s has partitions 0 to %d",
        topic->name,
        (int)topic->partition_count - 1
    );
    failure.v2_code = 40402;
    request_fail(request, &failure);
    return NULL;
}

bool gateway_query_i64(
    struct request *request,
    const char *name,
    int64_t min,
    int64_t max,
    int64_t fallback,
    int64_t *out_value
)
{
    struct ria_slice text;
    struct failure failure;
    int64_t value = 0;

    ria_err err = request_query(request, name, &text);
    if (err == RIA_OK && ria_slice_is_null(text)) {
        *out_value = fallback;
        return true;
    }
    if (err == RIA_OK && request_parse_i64(text, &value) && value >= min && value <= max) {
        *out_value = value;
        return true;
    }
    failure_set(
        &failure,
        400,
        "invalid_query",
        name,
        "%s must be a whole number from %lld to %lld",
        name,
        (long long)min,
        (long long)max
    );
    request_fail(request, &failure);
    return false;
}

bool gateway_body_is_plain(struct request *request)
{
    struct ria_slice encoding = request_header(request, "Content-Encoding");
    struct failure failure;

    if (ria_slice_is_null(encoding) || media_type_is(encoding, "identity")) {
        return true;
    }
    failure_set(
        &failure,
        415,
        "unsupported_media_type",
        "Content-Encoding",
        "the body must not be compressed (Content-Encoding: " RIA_SLICE_FMT ")",
        RIA_SLICE_ARG(ria_slice_sub(encoding, 0, 40))
    );
    request_fail(request, &failure);
    return false;
}

const char *gateway_record_type(struct request *request)
{
    static const char *const types[] = {TYPE_JSON, TYPE_NDJSON, TYPE_BATCHES, NULL};
    const char *type = media_type_choose(request_header(request, "Accept"), types);
    struct failure failure;

    if (type == NULL) {
        failure_set(
            &failure,
            406,
            "not_acceptable",
            "Accept",
            "records come as " TYPE_JSON ", " TYPE_NDJSON " or " TYPE_BATCHES
        );
        request_fail(request, &failure);
    }
    return type;
}

bool gateway_query_known(struct request *request, const char *const *names)
{
    const char *unknown = request_query_unknown(request, names);
    struct failure failure;

    if (unknown == NULL) {
        return true;
    }
    failure_set(
        &failure,
        400,
        "invalid_query",
        NULL,
        "there is no query parameter %.100s here; there are:",
        unknown
    );
    for (; *names != NULL; names++) {
        strncat(failure.message, " ", sizeof(failure.message) - strlen(failure.message) - 1);
        strncat(failure.message, *names, sizeof(failure.message) - strlen(failure.message) - 1);
    }
    request_fail(request, &failure);
    return false;
}

void gateway_respond_json(struct request *request, int status, ria_err err, struct ria_buf *buf)
{
    if (err != RIA_OK) {
        ria_buf_fini(buf);
        request_fail_err(request, RIA_ERR_NOMEM, "");
        return;
    }
    request_respond_buf(request, status, TYPE_JSON, buf);
}

const char *gateway_durability(const struct cluster_topic *topic)
{
    return topic->config.durability == TOPIC_DURABILITY_SYNCED ? "synced" : "relaxed";
}
