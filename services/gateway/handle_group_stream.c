/* GET /v1/groups/{group}/stream: consume as one of a group, without end (group_stream.h). */
#include "services/gateway/group_query.h"
#include "services/gateway/group_stream.h"
#include "services/gateway/stream_query.h"

static bool take_numbers(struct group_input *input, struct group_stream_wish *wish)
{
    int64_t partitions = 0;

    if (!group_input_i64(
            input, "max_partitions", 1, GROUP_PARTITIONS_MAX, GROUP_PARTITIONS_MAX, &partitions
        ) ||
        !group_input_i64(
            input,
            "lease_ms",
            GROUP_LEASE_MS_MIN,
            GROUP_LEASE_MS_MAX,
            GROUP_LEASE_MS_DEFAULT,
            &wish->lease_ms
        ) ||
        !group_input_i64(
            input,
            "session_ms",
            GROUP_LEASE_MS_MIN,
            GROUP_LEASE_MS_MAX,
            GROUP_SESSION_MS_DEFAULT,
            &wish->session_ms
        )) {
        return false;
    }
    wish->partitions_max = (int32_t)partitions;
    return true;
}

static bool read_query(
    struct group_input *input,
    struct stream_ask *ask,
    struct group_fetch *fetch,
    struct group_stream_wish *wish
)
{
    static const char *const acks[] = {"written", "cursor", NULL};
    struct ria_slice last = request_header(input->request, "Last-Event-ID");
    int ack = 0;

    if (!group_query_names(input, fetch) || !take_numbers(input, wish) ||
        !group_query_policies(input, fetch) || !group_input_word(input, "ack", acks, &ack) ||
        !group_query_commits(input, last.size > 0 ? "Last-Event-ID" : "after", last, fetch) ||
        !stream_query_limits(ask)) {
        return false;
    }
    wish->group = fetch->group;
    wish->member = fetch->member;
    wish->topics = fetch->topics;
    wish->topic_count = fetch->topic_count;
    wish->commits = fetch->commits;
    wish->commit_count = fetch->commit_count;
    wish->lost = fetch->lost;
    wish->lost_count = fetch->lost_count;
    wish->from_latest = fetch->from_latest;
    wish->on_range = fetch->on_range;
    wish->client_commits = ack == 1;
    wish->form = ask->form;
    wish->heartbeat_ms = ask->heartbeat_ms;
    wish->records_max = ask->records_max;
    wish->time_max_ms = ask->time_max_ms;
    return true;
}

static void begin(struct gateway *gateway, struct request *request)
{
    static const char *const known[] = {
        "topics",
        "member",
        "after",
        "from",
        "filter",
        "ack",
        "heartbeat_ms",
        "lease_ms",
        "session_ms",
        "max_partitions",
        "max_records",
        "max_ms",
        "on_out_of_range",
        NULL,
    };
    struct group_fetch *fetch = ria_arena_alloc(&request->arena, sizeof(*fetch));
    struct stream_ask *ask = ria_arena_alloc(&request->arena, sizeof(*ask));
    struct group_stream_wish wish = {0};
    char reason[FILTER_REASON_MAX];
    struct group_input input;

    if (fetch == NULL || ask == NULL) {
        request_fail_err(request, RIA_ERR_NOMEM, "");
        return;
    }
    ask->gateway = gateway;
    ask->request = request;
    if (group_query_is_head(request, "GET") || !group_input_open(&input, gateway, request, known)) {
        return;
    }
    bool fine = read_query(&input, ask, fetch, &wish);
    group_input_close(&input);
    if (!fine || !stream_query_admit(gateway, request)) {
        return;
    }
    ria_err err = filter_set_new(ask->filters, ask->filter_count, &wish.filter, reason);
    if (err != RIA_OK) {
        streams_unreserve(&gateway->streams);
        request_fail_err(request, err, "");
        return;
    }
    group_stream_open(gateway, request, &wish);
}

struct waiting {
    struct gateway *gateway;
    struct request *request;
};

static void view_came(void *arg, bool reached)
{
    struct waiting *waiting = arg;

    if (reached) {
        begin(waiting->gateway, waiting->request);
    } else {
        request_fail_err(waiting->request, RIA_ERR_TIMEOUT, "the coordinator does not answer");
    }
}

/* As a topic's stream: a gateway that has just started waits until it knows its topics. */
void handle_group_stream(struct gateway *gateway, struct request *request)
{
    struct waiting *waiting = ria_arena_alloc(&request->arena, sizeof(*waiting));

    if (waiting == NULL) {
        request_fail_err(request, RIA_ERR_NOMEM, "");
    } else if (cluster_is_ready(gateway->cluster)) {
        begin(gateway, request);
    } else {
        *waiting = (struct waiting){gateway, request};
        cluster_wait_version(
            gateway->cluster, 1, gateway->options.request_timeout_ms, view_came, waiting
        );
    }
}
