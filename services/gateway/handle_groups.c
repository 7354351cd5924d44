/* GET /v1/groups and /v1/groups/{group}: which groups there are; of one, who has what and how far
 * behind it is, in records and in time.
 *
 *   DescribeGroups (coordinator) -> ends of its partitions -> times of their first unfinished
 * records
 */
#include <string.h>

#include "common/json.h"

#include "schemas/gen/describe_groups_request.h"
#include "schemas/gen/describe_groups_response.h"

#include "services/gateway/admin.h"
#include "services/gateway/gateway.h"
#include "services/gateway/group_input.h"
#include "services/gateway/positions.h"
#include "services/gateway/queue_input.h"
#include "services/gateway/record_times.h"

enum {
    PAGE_DEFAULT = 100,
    PAGE_MAX = 1000,
    ENDS_TIMEOUT_MS = 3000,
    TIMES_TIMEOUT_MS = 3000,
    TIMES_MAX = 1024, /* partitions whose lag is told in time */
};

typedef struct describe_groups_response_described_group described_group;
typedef struct describe_groups_response_described_group_member described_member;
typedef struct describe_groups_response_described_group_partition described_partition;

static const char *mode_name(int8_t mode)
{
    return mode == 0 ? "stream" : "queue";
}

/* --- the list ----------------------------------------------------------------------------------*/

struct listing {
    struct request *request;
    struct describe_groups_request body;
};

static ria_err render_page(const struct describe_groups_response *page, struct ria_buf *out)
{
    RIA_TRY(ria_buf_append_str(out, "{\"groups\":["));
    for (uint32_t i = 0; i < page->groups_count; i++) {
        const described_group *group = &page->groups[i];
        RIA_TRY(ria_buf_append_str(out, i > 0 ? ",\n{\"group\":" : "\n{\"group\":"));
        RIA_TRY(ria_json_append_string(out, group->group));
        RIA_TRY(ria_buf_printf(
            out,
            ",\"mode\":\"%s\",\"created_ms\":%lld,\"members\":%d}",
            mode_name(group->mode),
            (long long)group->created_ms,
            (int)group->member_count
        ));
    }
    RIA_TRY(ria_buf_append_str(out, "\n],\"next\":"));
    if (page->more && page->groups_count > 0) {
        RIA_TRY(ria_json_append_string(out, page->groups[page->groups_count - 1].group));
    } else {
        RIA_TRY(ria_buf_append_str(out, "null"));
    }
    return ria_buf_append_str(out, "}\n");
}

static void listed(void *arg, ria_err err, const char *text, const void *response)
{
    struct listing *listing = arg;
    struct ria_buf out;

    if (err != RIA_OK) {
        request_fail_err(listing->request, err, text);
        return;
    }
    ria_buf_init(&out, DOCUMENT_MAX);
    err = render_page(response, &out);
    gateway_respond_json(listing->request, 200, err, &out);
}

void handle_groups_list(struct gateway *gateway, struct request *request)
{
    static const char *const known[] = {"after", "limit", NULL};
    struct listing *listing = ria_arena_alloc(&request->arena, sizeof(*listing));
    struct group_input input;
    struct ria_slice after;
    int64_t limit = 0;

    if (listing == NULL) {
        request_fail_err(request, RIA_ERR_NOMEM, "");
        return;
    }
    if (!group_input_open(&input, gateway, request, known) ||
        !group_input_text(&input, "after", &after) ||
        !group_input_i64(&input, "limit", 1, PAGE_MAX, PAGE_DEFAULT, &limit)) {
        return;
    }
    if (after.size > 0 && !group_input_name(request, "after", after)) {
        return;
    }
    listing->request = request;
    describe_groups_request_init(&listing->body);
    listing->body.after = after.size > 0 ? after : RIA_SLICE_EMPTY;
    listing->body.limit = (int32_t)limit;
    ria_err err = coordinator_call(
        &gateway->coordinator,
        API_DESCRIBE_GROUPS,
        &listing->body,
        ADMIN_TIMEOUT_MS,
        listed,
        listing
    );
    if (err != RIA_OK) {
        request_fail_err(request, err, "");
    }
}

/* --- one group ---------------------------------------------------------------------------------*/

struct describing {
    struct gateway *gateway;
    struct request *request;
    struct describe_groups_request body;
    described_group group; /* what it points to is in the request's arena */
    struct position *ends;
    uint32_t end_count;
    struct record_time *times;
    uint32_t time_count;
    /* of each of the group's partitions, NULL: none */
    const struct position **end_at;
    const struct record_time **time_at;
};

static bool copy_text(struct ria_arena *arena, struct ria_slice *text)
{
    const char *copy = ria_arena_strdup(arena, *text);

    *text = ria_slice_of(copy, copy == NULL ? 0 : text->size);
    return copy != NULL;
}

static bool copy_members(struct ria_arena *arena, described_group *group)
{
    described_member *members =
        ria_arena_alloc_array(arena, group->members_count, sizeof(*members));
    bool fine = members != NULL;

    for (uint32_t i = 0; fine && i < group->members_count; i++) {
        members[i] = group->members[i];
        members[i].topics =
            ria_arena_alloc_array(arena, members[i].topics_count, sizeof(*members[i].topics));
        fine = copy_text(arena, &members[i].name) && members[i].topics != NULL;
        if (fine && members[i].topics_count > 0) {
            memcpy(
                members[i].topics,
                group->members[i].topics,
                members[i].topics_count * sizeof(*members[i].topics)
            );
        }
    }
    group->members = members;
    return fine;
}

static bool copy_partitions(struct ria_arena *arena, described_group *group)
{
    described_partition *partitions =
        ria_arena_alloc_array(arena, group->partitions_count, sizeof(*partitions));
    bool fine = partitions != NULL;

    for (uint32_t i = 0; fine && i < group->partitions_count; i++) {
        partitions[i] = group->partitions[i];
        fine = copy_text(arena, &partitions[i].metadata) &&
               copy_text(arena, &partitions[i].member) && copy_text(arena, &partitions[i].holder);
    }
    group->partitions = partitions;
    return fine;
}

static bool copy_settings(struct ria_arena *arena, described_group *group)
{
    uint32_t *retry_ms = ria_arena_alloc_array(arena, group->retry_ms_count, sizeof(*retry_ms));

    if (retry_ms != NULL && group->retry_ms_count > 0) {
        memcpy(retry_ms, group->retry_ms, group->retry_ms_count * sizeof(*retry_ms));
    }
    group->retry_ms = retry_ms;
    return retry_ms != NULL && copy_text(arena, &group->dead_topic);
}

/* The response goes when the callback returns. */
static bool keep_group(struct ria_arena *arena, const described_group *from, described_group *out)
{
    *out = *from;
    return copy_text(arena, &out->group) && copy_settings(arena, out) && copy_members(arena, out) &&
           copy_partitions(arena, out);
}

/* NULL: its leader has not told. */
static const struct position *end_of(const struct describing *describing, uint32_t index)
{
    const struct position *end = describing->end_at == NULL ? NULL : describing->end_at[index];

    return end != NULL && end->known ? end : NULL;
}

/* Records that are not finished; -1: not known. */
static int64_t lag_of(const struct position *end, const described_partition *partition)
{
    int64_t position = partition->position;

    if (end == NULL) {
        return -1;
    }
    if (position < end->log_start) {
        position = end->log_start; /* it has none yet, or they are gone */
    }
    return ria_max_i64(end->high_watermark - position - partition->done, 0);
}

/* Milliseconds since the first unfinished record was made; -1: not known. */
static int64_t lag_ms_of(const struct describing *describing, uint32_t index, int64_t lag)
{
    int64_t now_ms = ria_clock_wall_ms(describing->gateway->env->clock);
    const struct record_time *time =
        describing->time_at == NULL ? NULL : describing->time_at[index];

    if (lag <= 0) {
        return lag;
    }
    return time == NULL || time->time_ms < 0 ? -1 : ria_max_i64(now_ms - time->time_ms, 0);
}

/* A number with three digits behind the point, or null. */
static ria_err render_seconds(int64_t ms, struct ria_buf *out)
{
    return ms < 0 ? ria_buf_append_str(out, "null")
                  : ria_buf_printf(out, "%lld.%03d", (long long)(ms / 1000), (int)(ms % 1000));
}

static ria_err render_name(struct ria_slice name, struct ria_buf *out)
{
    return name.size == 0 ? ria_buf_append_str(out, "null") : ria_json_append_string(out, name);
}

static const char *topic_name(const struct describing *describing, const struct ria_uuid *id)
{
    const struct cluster_topic *topic = cluster_topic_by_id(describing->gateway->cluster, id);

    return topic == NULL ? "" : topic->name;
}

static ria_err render_member(
    const struct describing *describing, const described_member *member, struct ria_buf *out
)
{
    RIA_TRY(ria_buf_append_str(out, "{\"name\":"));
    RIA_TRY(ria_json_append_string(out, member->name));
    RIA_TRY(ria_buf_printf(
        out,
        ",\"kind\":\"%s\",\"epoch\":%d,\"session_ms\":%d,\"left_ms\":%lld,\"chosen\":%s,"
        "\"topics\":[",
        member->kind == 0 ? "named" : "made",
        (int)member->epoch,
        (int)member->session_ms,
        (long long)member->left_ms,
        member->chosen ? "true" : "false"
    ));
    for (uint32_t i = 0; i < member->topics_count; i++) {
        RIA_TRY(ria_buf_append_str(out, i > 0 ? "," : ""));
        RIA_TRY(
            ria_json_append_string(out, ria_slice_cstr(topic_name(describing, &member->topics[i])))
        );
    }
    return ria_buf_append_str(out, "]}");
}

static ria_err render_lease(const described_partition *partition, struct ria_buf *out)
{
    /* One that is over is kept for a late commit: nobody holds the records. */
    if (partition->lease_id == 0 || partition->lease_left_ms <= 0) {
        return ria_buf_append_str(out, "null");
    }
    RIA_TRY(ria_buf_printf(out, "{\"id\":%lld,\"holder\":", (long long)partition->lease_id));
    RIA_TRY(render_name(partition->holder, out));
    return ria_buf_printf(out, ",\"left_ms\":%lld}", (long long)partition->lease_left_ms);
}

static ria_err render_partition(
    const struct describing *describing,
    uint32_t index,
    int64_t lag,
    int64_t lag_ms,
    struct ria_buf *out
)
{
    const described_partition *partition = &describing->group.partitions[index];
    const struct position *end = end_of(describing, index);

    RIA_TRY(ria_buf_append_str(out, "{\"topic\":"));
    RIA_TRY(
        ria_json_append_string(out, ria_slice_cstr(topic_name(describing, &partition->topic_id)))
    );
    RIA_TRY(ria_buf_printf(out, ",\"partition\":%d,\"position\":", (int)partition->partition));
    RIA_TRY(admin_render_known(partition->position, out));
    RIA_TRY(ria_buf_append_str(out, ",\"log_start_offset\":"));
    RIA_TRY(admin_render_known(end == NULL ? -1 : end->log_start, out));
    RIA_TRY(ria_buf_append_str(out, ",\"high_watermark\":"));
    RIA_TRY(admin_render_known(end == NULL ? -1 : end->high_watermark, out));
    RIA_TRY(ria_buf_append_str(out, ",\"lag\":"));
    RIA_TRY(admin_render_known(lag, out));
    RIA_TRY(ria_buf_append_str(out, ",\"lag_seconds\":"));
    RIA_TRY(render_seconds(lag_ms, out));
    RIA_TRY(ria_buf_append_str(out, ",\"committed_ms\":"));
    RIA_TRY(admin_render_known(partition->committed_ms == 0 ? -1 : partition->committed_ms, out));
    RIA_TRY(ria_buf_append_str(out, ",\"member\":"));
    RIA_TRY(render_name(partition->member, out));
    RIA_TRY(ria_buf_append_str(out, ",\"lease\":"));
    RIA_TRY(render_lease(partition, out));
    if (describing->group.mode != 0) {
        RIA_TRY(ria_buf_printf(
            out,
            ",\"frontier\":%lld,\"leased\":%lld,\"waiting\":%lld,\"dead\":%lld,\"done\":%lld",
            (long long)partition->frontier,
            (long long)partition->leased,
            (long long)partition->waiting,
            (long long)partition->dead,
            (long long)partition->done
        ));
    }
    return ria_buf_append_str(out, "}");
}

static ria_err render_settings(const described_group *group, struct ria_buf *out)
{
    RIA_TRY(ria_buf_printf(
        out,
        ",\"lock_ms\":%d,\"deliveries_max\":%d,\"order\":\"%s\",\"retry_ms\":",
        (int)group->lock_ms,
        (int)group->deliveries_max,
        group->key_order ? "key" : "none"
    ));
    RIA_TRY(queue_render_delays(group->retry_ms, group->retry_ms_count, out));
    RIA_TRY(ria_buf_append_str(out, ",\"dead_letter_topic\":"));
    return render_name(group->dead_topic, out);
}

static ria_err render_group(const struct describing *describing, struct ria_buf *out)
{
    const described_group *group = &describing->group;
    int64_t lag_all = 0;
    int64_t lag_ms_all = 0;

    RIA_TRY(ria_buf_append_str(out, "{\"group\":"));
    RIA_TRY(ria_json_append_string(out, group->group));
    RIA_TRY(ria_buf_printf(
        out,
        ",\"mode\":\"%s\",\"created_ms\":%lld,\"generation\":%lld",
        mode_name(group->mode),
        (long long)group->created_ms,
        (long long)group->generation
    ));
    if (group->mode != 0) {
        RIA_TRY(render_settings(group, out));
    }
    RIA_TRY(ria_buf_append_str(out, ",\"members\":["));
    for (uint32_t i = 0; i < group->members_count; i++) {
        RIA_TRY(ria_buf_append_str(out, i > 0 ? ",\n" : "\n"));
        RIA_TRY(render_member(describing, &group->members[i], out));
    }
    RIA_TRY(ria_buf_append_str(out, "],\"partitions\":["));
    for (uint32_t i = 0; i < group->partitions_count; i++) {
        int64_t lag = lag_of(end_of(describing, i), &group->partitions[i]);
        int64_t lag_ms = lag_ms_of(describing, i, lag);
        lag_all = lag < 0 || lag_all < 0 ? -1 : lag_all + lag;
        lag_ms_all = lag_ms < 0 || lag_ms_all < 0 ? -1 : ria_max_i64(lag_ms_all, lag_ms);
        RIA_TRY(ria_buf_append_str(out, i > 0 ? ",\n" : "\n"));
        RIA_TRY(render_partition(describing, i, lag, lag_ms, out));
    }
    RIA_TRY(ria_buf_append_str(out, "],\"lag\":"));
    RIA_TRY(admin_render_known(lag_all, out));
    RIA_TRY(ria_buf_append_str(out, ",\"lag_seconds\":"));
    RIA_TRY(render_seconds(lag_ms_all, out));
    return ria_buf_append_str(out, "}\n");
}

static void respond(struct describing *describing)
{
    struct ria_buf out;

    ria_buf_init(&out, DOCUMENT_MAX);
    ria_err err = render_group(describing, &out);
    gateway_respond_json(describing->request, 200, err, &out);
}

static void times_known(struct record_times *times)
{
    respond(times->arg);
}

static void ends_known(struct positions *positions)
{
    struct describing *describing = positions->arg;
    struct ria_arena *arena = &describing->request->arena;
    const described_group *group = &describing->group;
    ria_err err = RIA_OK;

    describing->times = ria_arena_alloc_array(arena, TIMES_MAX, sizeof(*describing->times));
    describing->time_at =
        ria_arena_alloc_array(arena, group->partitions_count, sizeof(*describing->time_at));
    if (describing->times == NULL || describing->time_at == NULL) {
        request_fail_err(describing->request, RIA_ERR_NOMEM, "");
        return;
    }
    for (uint32_t i = 0; i < group->partitions_count; i++) {
        const described_partition *partition = &group->partitions[i];
        const struct position *end = end_of(describing, i);
        if (lag_of(end, partition) > 0 && describing->time_count < TIMES_MAX) {
            struct record_time *time = &describing->times[describing->time_count++];
            time->partition = end->partition;
            time->offset = ria_max_i64(partition->position, end->log_start);
            describing->time_at[i] = time;
        }
    }
    if (describing->time_count == 0) {
        respond(describing);
        return;
    }
    err = record_times_start(
        &describing->gateway->leaders,
        arena,
        describing->times,
        describing->time_count,
        TIMES_TIMEOUT_MS,
        times_known,
        describing
    );
    if (err != RIA_OK) {
        request_fail_err(describing->request, err, "");
    }
}

static void find_ends(struct describing *describing)
{
    struct ria_arena *arena = &describing->request->arena;
    const described_group *group = &describing->group;
    ria_err err = RIA_ERR_NOMEM;

    describing->ends =
        ria_arena_alloc_array(arena, group->partitions_count, sizeof(*describing->ends));
    describing->end_at =
        ria_arena_alloc_array(arena, group->partitions_count, sizeof(*describing->end_at));
    bool fine = describing->ends != NULL && describing->end_at != NULL;
    for (uint32_t i = 0; fine && i < group->partitions_count; i++) {
        struct cluster_partition *partition = cluster_partition(
            describing->gateway->cluster,
            &group->partitions[i].topic_id,
            group->partitions[i].partition
        );
        if (partition != NULL) {
            struct position *end = &describing->ends[describing->end_count++];
            end->partition = partition;
            end->kind = POSITION_LATEST;
            describing->end_at[i] = end;
        }
    }
    if (fine && describing->end_count == 0) {
        respond(describing);
        return;
    }
    if (fine) {
        err = positions_start(
            &describing->gateway->leaders,
            arena,
            describing->ends,
            describing->end_count,
            ENDS_TIMEOUT_MS,
            ends_known,
            describing
        );
    }
    if (err != RIA_OK) {
        request_fail_err(describing->request, err, "");
    }
}

static void described(void *arg, ria_err err, const char *text, const void *response)
{
    const struct describe_groups_response *found = response;
    struct describing *describing = arg;
    struct failure failure;

    if (err != RIA_OK && err != RIA_ERR_NOT_FOUND) {
        request_fail_err(describing->request, err, text);
        return;
    }
    if (err == RIA_ERR_NOT_FOUND || found->groups_count == 0) {
        failure_set(&failure, 404, "not_found", "group", "there is no such group");
        request_fail(describing->request, &failure);
        return;
    }
    if (!keep_group(&describing->request->arena, &found->groups[0], &describing->group)) {
        request_fail_err(describing->request, RIA_ERR_NOMEM, "");
        return;
    }
    find_ends(describing);
}

void handle_group_describe(struct gateway *gateway, struct request *request)
{
    static const char *const known[] = {NULL};
    struct describing *describing = ria_arena_alloc(&request->arena, sizeof(*describing));
    struct group_input input;

    if (describing == NULL) {
        request_fail_err(request, RIA_ERR_NOMEM, "");
        return;
    }
    if (!group_input_open(&input, gateway, request, known)) {
        return;
    }
    describing->gateway = gateway;
    describing->request = request;
    describe_groups_request_init(&describing->body);
    describing->body.after = RIA_SLICE_EMPTY;
    describing->body.name = input.group;
    describing->body.limit = 1;
    ria_err err = coordinator_call(
        &gateway->coordinator,
        API_DESCRIBE_GROUPS,
        &describing->body,
        ADMIN_TIMEOUT_MS,
        described,
        describing
    );
    if (err != RIA_OK) {
        request_fail_err(request, err, "");
    }
}
