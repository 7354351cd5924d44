/* GET and DELETE /v1/queues/{topic}/{group}: how far a queue is.
 *
 *   DescribeGroups (coordinator) -> ends of the topic's partitions */
#include "common/json.h"

#include "schemas/gen/describe_groups_request.h"
#include "schemas/gen/describe_groups_response.h"

#include "services/gateway/admin.h"
#include "services/gateway/gateway.h"
#include "services/gateway/positions.h"
#include "services/gateway/queue_input.h"
#include "services/gateway/queue_names.h"

enum { ENDS_TIMEOUT_MS = 3000 };

typedef struct describe_groups_response_described_group described_group;
typedef struct describe_groups_response_described_group_partition described_partition;

struct queue_view {
    struct gateway *gateway;
    struct request *request;
    struct ria_slice group;
    struct cluster_topic *topic;
    struct describe_groups_request body;
    const char *settings; /* rendered */
    described_partition *partitions;
    uint32_t count;
    struct position *ends; /* of each */
};

/* --- rendering ---------------------------------------------------------------------------------*/

static ria_err
render_settings(const struct queue_view *view, const described_group *group, struct ria_buf *out)
{
    struct ria_slice dead_topic = queue_dead_resolve(
        &view->request->arena, group->dead_topic, view->topic->name, view->group
    );

    if (ria_slice_is_null(dead_topic)) {
        return RIA_ERR_NOMEM;
    }
    RIA_TRY(ria_buf_append_str(out, "{\"topic\":"));
    RIA_TRY(ria_json_append_string(out, ria_slice_cstr(view->topic->name)));
    RIA_TRY(ria_buf_append_str(out, ",\"group\":"));
    RIA_TRY(ria_json_append_string(out, view->group));
    RIA_TRY(ria_buf_printf(
        out,
        ",\"lock_ms\":%d,\"max_deliveries\":%d,\"order\":\"%s\",\"retry_ms\":",
        (int)group->lock_ms,
        (int)group->deliveries_max,
        group->key_order ? "key" : "none"
    ));
    RIA_TRY(queue_render_delays(group->retry_ms, group->retry_ms_count, out));
    RIA_TRY(ria_buf_append_str(out, ",\"dead_letter_topic\":"));
    return dead_topic.size == 0 ? ria_buf_append_str(out, "null")
                                : ria_json_append_string(out, dead_topic);
}

struct queue_counts {
    int64_t ready; /* never given out; -1: not known, as lag */
    int64_t locked;
    int64_t waiting;
    int64_t held; /* of these, by an earlier record of their key */
    int64_t dead;
    int64_t done;
    int64_t discarded;
    int64_t lag;
};

static struct queue_counts counts_of(const described_partition *p, const struct position *end)
{
    struct queue_counts counts = {
        .ready = -1,
        .locked = p->leased,
        .waiting = p->waiting,
        .held = p->held,
        .dead = p->dead,
        .done = p->done,
        .discarded = p->discarded,
        .lag = -1,
    };

    if (end->known) {
        int64_t from = ria_max_i64(p->frontier, end->log_start);
        counts.ready = ria_max_i64(end->high_watermark - from, 0);
        counts.lag = counts.ready + p->leased + p->waiting + p->dead;
    }
    return counts;
}

static void add_known(int64_t *sum, int64_t number)
{
    *sum = *sum < 0 || number < 0 ? -1 : *sum + number;
}

static void add(struct queue_counts *sum, const struct queue_counts *counts)
{
    add_known(&sum->ready, counts->ready);
    add_known(&sum->lag, counts->lag);
    sum->locked += counts->locked;
    sum->waiting += counts->waiting;
    sum->held += counts->held;
    sum->dead += counts->dead;
    sum->done += counts->done;
    sum->discarded += counts->discarded;
}

static ria_err render_counts(const struct queue_counts *counts, struct ria_buf *out)
{
    RIA_TRY(ria_buf_append_str(out, ",\"ready\":"));
    RIA_TRY(admin_render_known(counts->ready, out));
    RIA_TRY(ria_buf_printf(
        out,
        ",\"locked\":%lld,\"waiting\":%lld,\"held\":%lld,\"dead\":%lld,\"done\":%lld"
        ",\"discarded\":%lld,\"lag\":",
        (long long)counts->locked,
        (long long)counts->waiting,
        (long long)counts->held,
        (long long)counts->dead,
        (long long)counts->done,
        (long long)counts->discarded
    ));
    return admin_render_known(counts->lag, out);
}

static ria_err render_partition(
    const described_partition *p,
    const struct position *end,
    const struct queue_counts *counts,
    struct ria_buf *out
)
{
    RIA_TRY(ria_buf_printf(out, "\n{\"partition\":%d,\"position\":", (int)p->partition));
    RIA_TRY(admin_render_known(p->position, out));
    RIA_TRY(ria_buf_append_str(out, ",\"frontier\":"));
    RIA_TRY(admin_render_known(p->frontier, out));
    RIA_TRY(ria_buf_append_str(out, ",\"high_watermark\":"));
    RIA_TRY(admin_render_known(end->known ? end->high_watermark : -1, out));
    RIA_TRY(render_counts(counts, out));
    return ria_buf_append_str(out, "}");
}

static ria_err render(const struct queue_view *view, struct ria_buf *out)
{
    struct queue_counts sum = {0};

    for (uint32_t i = 0; i < view->count; i++) {
        struct queue_counts counts = counts_of(&view->partitions[i], &view->ends[i]);
        add(&sum, &counts);
    }
    RIA_TRY(ria_buf_append_str(out, view->settings));
    RIA_TRY(render_counts(&sum, out));
    RIA_TRY(ria_buf_append_str(out, ",\"partitions\":["));
    for (uint32_t i = 0; i < view->count; i++) {
        struct queue_counts counts = counts_of(&view->partitions[i], &view->ends[i]);
        RIA_TRY(i > 0 ? ria_buf_append_str(out, ",") : RIA_OK);
        RIA_TRY(render_partition(&view->partitions[i], &view->ends[i], &counts, out));
    }
    return ria_buf_append_str(out, "\n]}\n");
}

static void ends_known(struct positions *positions)
{
    struct queue_view *view = positions->arg;
    struct ria_buf out;

    ria_buf_init(&out, DOCUMENT_MAX);
    ria_err err = render(view, &out);
    gateway_respond_json(view->request, 200, err, &out);
}

/* --- asking ------------------------------------------------------------------------------------*/

/* The topic's partitions, those without a position too. */
static ria_err take_partitions(struct queue_view *view, const described_group *group)
{
    struct ria_arena *arena = &view->request->arena;
    size_t count = (size_t)view->topic->partition_count;

    view->partitions = ria_arena_alloc_array(arena, count, sizeof(*view->partitions));
    view->ends = ria_arena_alloc_array(arena, count, sizeof(*view->ends));
    if (view->partitions == NULL || view->ends == NULL) {
        return ria_arena_err(arena);
    }
    view->count = (uint32_t)count;
    for (uint32_t i = 0; i < view->count; i++) {
        view->partitions[i].partition = (int32_t)i;
        view->partitions[i].position = -1;
        view->partitions[i].frontier = -1;
        view->ends[i].partition = view->topic->partitions[i];
        view->ends[i].kind = POSITION_LATEST;
    }
    for (uint32_t i = 0; i < group->partitions_count; i++) {
        const described_partition *p = &group->partitions[i];
        if (ria_uuid_equal(p->topic_id, view->topic->id) && p->partition >= 0 &&
            p->partition < (int32_t)view->count) {
            view->partitions[p->partition] = *p;
        }
    }
    return RIA_OK;
}

/* The response goes when the callback returns. */
static ria_err keep_settings(struct queue_view *view, const described_group *group)
{
    struct ria_buf text;

    ria_buf_init(&text, DOCUMENT_MAX);
    ria_err err = render_settings(view, group, &text);
    if (err == RIA_OK) {
        view->settings = ria_arena_strdup(&view->request->arena, ria_buf_slice(&text));
        err = view->settings == NULL ? ria_arena_err(&view->request->arena) : RIA_OK;
    }
    ria_buf_fini(&text);
    return err;
}

static void described(void *arg, ria_err err, const char *text, const void *response)
{
    const struct describe_groups_response *found = response;
    struct queue_view *view = arg;
    struct failure failure;

    if (err != RIA_OK && err != RIA_ERR_NOT_FOUND) {
        request_fail_err(view->request, err, text);
        return;
    }
    if (err == RIA_ERR_NOT_FOUND || found->groups_count == 0 || found->groups[0].mode == 0) {
        failure_set(&failure, 404, "not_found", "group", "there is no such queue");
        request_fail(view->request, &failure);
        return;
    }
    err = keep_settings(view, &found->groups[0]);
    if (err == RIA_OK) {
        err = take_partitions(view, &found->groups[0]);
    }
    if (err == RIA_OK) {
        err = positions_start(
            &view->gateway->leaders,
            &view->request->arena,
            view->ends,
            view->count,
            ENDS_TIMEOUT_MS,
            ends_known,
            view
        );
    }
    if (err != RIA_OK) {
        request_fail_err(view->request, err, "");
    }
}

void handle_queue_describe(struct gateway *gateway, struct request *request)
{
    static const char *const known[] = {NULL};
    struct queue_view *view = ria_arena_alloc(&request->arena, sizeof(*view));
    struct queue_input input;

    if (view == NULL) {
        request_fail_err(request, RIA_ERR_NOMEM, "");
        return;
    }
    if (!queue_input_open(&input, gateway, request, known)) {
        return;
    }
    queue_input_close(&input);
    view->gateway = gateway;
    view->request = request;
    view->group = input.in.group;
    view->topic = input.topic;
    describe_groups_request_init(&view->body);
    view->body.after = RIA_SLICE_EMPTY;
    view->body.name = view->group;
    view->body.limit = 1;
    ria_err err = coordinator_call(
        &gateway->coordinator, API_DESCRIBE_GROUPS, &view->body, ADMIN_TIMEOUT_MS, described, view
    );
    if (err != RIA_OK) {
        request_fail_err(request, err, "");
    }
}

void handle_queue_delete(struct gateway *gateway, struct request *request)
{
    /* The group as a whole; the topic need not be there any more. */
    request->params[0] = request->params[1];
    handle_group_delete(gateway, request);
}
