/* POST /v1/groups/{group}/reset: where a group goes on; DELETE /v1/groups/{group}.
 *
 *   partitions (named, or those that the group has) -> their ends, or offsets by time -> Reset
 *
 * All or nothing, and nothing while leases are held, unless forced. */
#include <string.h>

#include "common/json.h"

#include "schemas/gen/describe_groups_request.h"
#include "schemas/gen/describe_groups_response.h"
#include "schemas/gen/group_delete.h"
#include "schemas/gen/group_reset.h"
#include "schemas/gen/group_reset_result.h"

#include "services/gateway/admin.h"
#include "services/gateway/deliver_at.h"
#include "services/gateway/document.h"
#include "services/gateway/gateway.h"
#include "services/gateway/group_fetch.h"
#include "services/gateway/group_input.h"
#include "services/gateway/positions.h"

enum {
    RESET_PARTITIONS_MAX = 6000, /* of one reset: GROUP_OP_SIZE_MAX */
    LOOKUP_TIMEOUT_MS = 5000,
};

typedef struct group_reset_group_reset_entry reset_entry;

typedef enum reset_to { TO_EARLIEST, TO_LATEST, TO_TIME, TO_OFFSET } reset_to;

struct resetting {
    struct gateway *gateway;
    struct request *request;
    struct ria_slice group;
    reset_to to;
    int64_t value; /* the time or offset */
    struct position *items;
    uint32_t count;
    struct describe_groups_request describe;
    struct group_reset body;
    struct group_delete delete;
    struct group_op op;
};

static void fail(struct resetting *resetting, int status, const char *code, const char *text)
{
    struct failure failure;

    failure_set(&failure, status, code, "partitions", "%s", text);
    request_fail(resetting->request, &failure);
}

/* --- the answer --------------------------------------------------------------------------------*/

static ria_err render(
    const struct resetting *resetting, const struct group_reset_result *result, struct ria_buf *out
)
{
    RIA_TRY(ria_buf_printf(
        out, "{\"dry_run\":%s,\"partitions\":[", resetting->body.dry_run ? "true" : "false"
    ));
    for (uint32_t i = 0; i < resetting->count; i++) {
        const struct cluster_partition *partition = resetting->items[i].partition;
        RIA_TRY(ria_buf_append_str(out, i > 0 ? ",\n{\"topic\":" : "\n{\"topic\":"));
        RIA_TRY(ria_json_append_string(out, ria_slice_cstr(partition->topic->name)));
        RIA_TRY(ria_buf_printf(out, ",\"partition\":%d,\"from\":", (int)partition->number));
        RIA_TRY(admin_render_known(result->entries[i].position, out));
        RIA_TRY(ria_buf_printf(out, ",\"to\":%lld}", (long long)resetting->body.entries[i].offset));
    }
    return ria_buf_append_str(out, "\n]}\n");
}

static void reset_done(struct group_op *op, const struct group_op_result *result)
{
    struct resetting *resetting = op->arg;
    const struct group_reset_result *said = result->body;
    struct failure failure;
    struct ria_buf out;

    if (result->err != RIA_OK) {
        group_failure(&failure, result);
        request_fail(resetting->request, &failure);
        return;
    }
    if (said->entries_count != resetting->count) {
        request_fail_err(resetting->request, RIA_ERR_MALFORMED, "");
        return;
    }
    ria_buf_init(&out, DOCUMENT_MAX);
    ria_err err = render(resetting, said, &out);
    gateway_respond_json(resetting->request, 200, err, &out);
}

/* --- where to ----------------------------------------------------------------------------------*/

static bool choose(struct resetting *resetting, const struct position *item, int64_t *out_offset)
{
    const struct cluster_partition *partition = item->partition;
    struct failure failure;

    if (!item->known) {
        failure_of_err(&failure, RIA_ERR_NO_LEADER, "");
        request_fail(resetting->request, &failure);
        return false;
    }
    switch (resetting->to) {
    case TO_EARLIEST:
        *out_offset = item->log_start;
        return true;
    case TO_LATEST:
        *out_offset = item->high_watermark;
        return true;
    case TO_TIME:
        *out_offset = item->offset;
        return true;
    case TO_OFFSET:
        break;
    }
    *out_offset = resetting->value;
    if (resetting->value >= item->log_start && resetting->value <= item->high_watermark) {
        return true;
    }
    failure_set(
        &failure,
        400,
        "offset_out_of_range",
        "offset",
        "offset %lld is outside of partition %d of topic %s, which has %lld to %lld",
        (long long)resetting->value,
        (int)partition->number,
        partition->topic->name,
        (long long)item->log_start,
        (long long)item->high_watermark
    );
    request_fail(resetting->request, &failure);
    return false;
}

static void send(
    struct resetting *resetting, group_op_kind kind, const void *body, bool repeat, group_op_fn done
)
{
    struct gateway *gateway = resetting->gateway;

    resetting->op = (struct group_op){
        .kind = kind,
        .body = body,
        .deadline_us = ria_clock_mono_us(gateway->env->clock) + ADMIN_TIMEOUT_MS * INT64_C(1000),
        .repeat = repeat,
        .done = done,
        .arg = resetting,
    };
    group_op_start(&gateway->group_ops, &resetting->op);
}

static void ends_known(struct positions *positions)
{
    struct resetting *resetting = positions->arg;
    struct group_reset *body = &resetting->body;

    body->entries =
        ria_arena_alloc_array(&resetting->request->arena, resetting->count, sizeof(*body->entries));
    if (body->entries == NULL) {
        request_fail_err(resetting->request, RIA_ERR_NOMEM, "");
        return;
    }
    for (uint32_t i = 0; i < resetting->count; i++) {
        const struct position *item = &resetting->items[i];
        reset_entry *entry = &body->entries[body->entries_count++];
        entry->topic_id = item->partition->topic->id;
        entry->partition = item->partition->number;
        if (!choose(resetting, item, &entry->offset)) {
            return;
        }
    }
    /* Again it sets the same positions; forced, it would also end what was leased since. */
    send(resetting, GROUP_OP_RESET, body, !body->force, reset_done);
}

static void find_ends(struct resetting *resetting)
{
    if (resetting->count == 0) {
        fail(resetting, 400, "invalid", "the group has no partitions; name topics");
        return;
    }
    ria_err err = positions_start(
        &resetting->gateway->leaders,
        &resetting->request->arena,
        resetting->items,
        resetting->count,
        LOOKUP_TIMEOUT_MS,
        ends_known,
        resetting
    );
    if (err != RIA_OK) {
        request_fail_err(resetting->request, err, "");
    }
}

/* --- which -------------------------------------------------------------------------------------*/

/* False: there are too many. */
static bool add_partition(struct resetting *resetting, struct cluster_partition *partition)
{
    if (resetting->count == RESET_PARTITIONS_MAX) {
        return false;
    }
    resetting->items[resetting->count++] = (struct position){
        .partition = partition,
        .kind = resetting->to == TO_TIME ? POSITION_TIME : POSITION_LATEST,
        .value = resetting->value,
        .expected_offset = resetting->to == TO_OFFSET ? resetting->value : 0,
    };
    return true;
}

static void described(void *arg, ria_err err, const char *text, const void *response)
{
    const struct describe_groups_response *found = response;
    struct resetting *resetting = arg;
    struct failure failure;

    if (err == RIA_ERR_NOT_FOUND && resetting->body.create) {
        failure_set(
            &failure, 400, "invalid", "topics", "topics is missing: what the new group begins with"
        );
        request_fail(resetting->request, &failure);
        return;
    }
    if (err != RIA_OK) {
        request_fail_err(resetting->request, err, text);
        return;
    }
    for (uint32_t i = 0; found->groups_count > 0 && i < found->groups[0].partitions_count; i++) {
        struct cluster_partition *partition = cluster_partition(
            resetting->gateway->cluster,
            &found->groups[0].partitions[i].topic_id,
            found->groups[0].partitions[i].partition
        );
        if (partition != NULL && !add_partition(resetting, partition)) {
            fail(resetting, 400, "invalid", "the group has too many partitions; name some");
            return;
        }
    }
    find_ends(resetting);
}

static void find_partitions(struct resetting *resetting)
{
    describe_groups_request_init(&resetting->describe);
    resetting->describe.after = RIA_SLICE_EMPTY;
    resetting->describe.name = resetting->group;
    resetting->describe.limit = 1;
    ria_err err = coordinator_call(
        &resetting->gateway->coordinator,
        API_DESCRIBE_GROUPS,
        &resetting->describe,
        ADMIN_TIMEOUT_MS,
        described,
        resetting
    );
    if (err != RIA_OK) {
        request_fail_err(resetting->request, err, "");
    }
}

static bool fail_partition(struct resetting *resetting, const struct cluster_topic *topic)
{
    struct failure failure;

    failure_set(
        &failure,
        404,
        "unknown_partition",
        "partitions",
        "partitions must be numbers of each topic's partitions: topic %s has 0 to %d",
        topic->name,
        (int)topic->partition_count - 1
    );
    request_fail(resetting->request, &failure);
    return false;
}

/* "partitions": numbers, of each of the topics; absent: all. False: answered. */
static bool add_named(
    struct resetting *resetting,
    const json_t *numbers,
    struct cluster_topic **topics,
    uint32_t count
)
{
    for (uint32_t t = 0; t < count; t++) {
        struct cluster_topic *topic = topics[t];
        size_t chosen = numbers == NULL ? (size_t)topic->partition_count : json_array_size(numbers);
        for (size_t i = 0; i < chosen; i++) {
            json_int_t number =
                numbers == NULL ? (json_int_t)i : json_integer_value(json_array_get(numbers, i));
            if (numbers != NULL && (!json_is_integer(json_array_get(numbers, i)) || number < 0 ||
                                    number >= topic->partition_count)) {
                return fail_partition(resetting, topic);
            }
            if (!add_partition(resetting, topic->partitions[number])) {
                fail(resetting, 400, "invalid", "these are too many partitions for one reset");
                return false;
            }
        }
    }
    return true;
}

/* --- the requests ------------------------------------------------------------------------------*/

static bool take_target(struct group_input *input, struct resetting *resetting)
{
    static const char *const words[] = {"", "earliest", "latest", NULL};
    struct failure failure;
    struct ria_slice time = RIA_SLICE_NULL;
    int64_t timestamp = -1;
    int64_t offset = -1;
    int word = 0;

    if (!group_input_word(input, "to", words, &word) ||
        !group_input_text(input, "timestamp", &time) ||
        !group_input_i64(input, "offset", 0, INT64_MAX, -1, &offset)) {
        return false;
    }
    if (!ria_slice_is_null(time) && !deliver_at_parse(time, &timestamp)) {
        failure_set(
            &failure,
            400,
            "invalid",
            "timestamp",
            "timestamp must be a time (RFC 3339), or milliseconds since 1970"
        );
        request_fail(input->request, &failure);
        return false;
    }
    if ((word != 0) + (timestamp >= 0) + (offset >= 0) != 1) {
        failure_set(
            &failure,
            400,
            "invalid",
            "to",
            "one of to (earliest or latest), timestamp and offset says where to"
        );
        request_fail(input->request, &failure);
        return false;
    }
    if (word != 0) {
        resetting->to = word == 1 ? TO_EARLIEST : TO_LATEST;
    } else {
        resetting->to = timestamp >= 0 ? TO_TIME : TO_OFFSET;
        resetting->value = timestamp >= 0 ? timestamp : offset;
    }
    return true;
}

static bool take_reset(struct group_input *input, struct resetting *resetting, uint32_t *out_topics)
{
    const json_t *numbers = json_object_get(input->document, "partitions");
    struct cluster_topic **topics = NULL;
    struct group_reset *body = &resetting->body;

    group_reset_init(body);
    body->group = input->group;
    if (!take_target(input, resetting) || !group_input_flag(input, "dry_run", &body->dry_run) ||
        !group_input_flag(input, "force", &body->force) ||
        !group_input_flag(input, "create", &body->create) ||
        !group_input_topics(input, "topics", GROUP_TOPICS_MAX, &topics, out_topics)) {
        return false;
    }
    resetting->items = ria_arena_alloc_array(
        &input->request->arena, RESET_PARTITIONS_MAX, sizeof(*resetting->items)
    );
    if (resetting->items == NULL) {
        request_fail_err(input->request, RIA_ERR_NOMEM, "");
        return false;
    }
    if (numbers != NULL && (!json_is_array(numbers) || *out_topics == 0)) {
        fail(resetting, 400, "invalid", "partitions are numbers in a list, and of topics");
        return false;
    }
    return add_named(resetting, numbers, topics, *out_topics);
}

static struct resetting *open_resetting(struct gateway *gateway, struct request *request)
{
    struct resetting *resetting = ria_arena_alloc(&request->arena, sizeof(*resetting));

    if (resetting == NULL) {
        request_fail_err(request, RIA_ERR_NOMEM, "");
        return NULL;
    }
    resetting->gateway = gateway;
    resetting->request = request;
    return resetting;
}

void handle_group_reset(struct gateway *gateway, struct request *request)
{
    static const char *const known[] = {
        "topics",
        "partitions",
        "to",
        "timestamp",
        "offset",
        "dry_run",
        "force",
        "create",
        NULL,
    };
    struct resetting *resetting = open_resetting(gateway, request);
    struct group_input input;
    uint32_t topics = 0;

    if (resetting == NULL || !group_input_open(&input, gateway, request, known)) {
        return;
    }
    bool fine = take_reset(&input, resetting, &topics);
    group_input_close(&input);
    if (!fine) {
        return;
    }
    resetting->group = input.group;
    if (topics > 0) {
        find_ends(resetting);
    } else {
        find_partitions(resetting);
    }
}

static void deleted(struct group_op *op, const struct group_op_result *result)
{
    struct resetting *resetting = op->arg;
    struct failure failure;

    if (result->err == RIA_OK) {
        request_respond_static(resetting->request, 204, NULL, NULL);
        return;
    }
    group_failure(&failure, result);
    request_fail(resetting->request, &failure);
}

void handle_group_delete(struct gateway *gateway, struct request *request)
{
    static const char *const known[] = {"force", NULL};
    struct resetting *resetting = open_resetting(gateway, request);
    struct group_input input;

    if (resetting == NULL || !group_input_open(&input, gateway, request, known)) {
        return;
    }
    group_delete_init(&resetting->delete);
    resetting->delete.group = input.group;
    if (group_input_flag(&input, "force", &resetting->delete.force)) {
        send(resetting, GROUP_OP_DELETE, &resetting->delete, false, deleted);
    }
}
