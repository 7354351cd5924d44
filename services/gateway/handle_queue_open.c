/* PUT /v1/queues/{topic}/{group}: makes a queue, or changes its settings.
 *
 * Making and changing have different defaults for the dead-letter topic, so it is made first, as a
 * new one only, and changed if it is there. */
#include "common/json.h"

#include "schemas/gen/queue_open.h"
#include "schemas/gen/queue_open_result.h"

#include "services/gateway/admin.h"
#include "services/gateway/document.h"
#include "services/gateway/gateway.h"
#include "services/gateway/group_fetch.h"
#include "services/gateway/queue_input.h"
#include "services/gateway/queue_names.h"
#include "services/shared/queue_dead.h"

enum { DELIVERIES_MAX = 1000, RETRIES_MAX = 32 };

struct opening {
    struct gateway *gateway;
    struct request *request;
    struct cluster_topic *topic;
    struct queue_open body;
    struct ria_slice dead_topic; /* as given; null: not given */
    struct group_op op;
};

static void ask(struct opening *opening, bool must_be_new);

/* --- answering ---------------------------------------------------------------------------------*/

/* The path's topic, and the others that the group reads: what was set holds for them, too. */
static ria_err render_topics(
    const struct opening *opening, const struct queue_open_result *said, struct ria_buf *out
)
{
    const struct cluster *cluster = opening->gateway->cluster;

    RIA_TRY(ria_buf_append_str(out, ",\"topics\":["));
    RIA_TRY(ria_json_append_string(out, ria_slice_cstr(opening->topic->name)));
    for (uint32_t i = 0; i < said->topics_count; i++) {
        const struct cluster_topic *topic = cluster_topic_by_id(cluster, &said->topics[i]);
        if (topic != NULL && topic != opening->topic) {
            RIA_TRY(ria_buf_append_str(out, ","));
            RIA_TRY(ria_json_append_string(out, ria_slice_cstr(topic->name)));
        }
    }
    return ria_buf_append_str(out, "]");
}

static ria_err
render(const struct opening *opening, const struct queue_open_result *said, struct ria_buf *out)
{
    struct ria_slice dead_topic = queue_dead_resolve(
        &opening->request->arena, said->dead_topic, opening->topic->name, opening->body.group
    );

    if (ria_slice_is_null(dead_topic)) {
        return RIA_ERR_NOMEM;
    }
    RIA_TRY(ria_buf_append_str(out, "{\"topic\":"));
    RIA_TRY(ria_json_append_string(out, ria_slice_cstr(opening->topic->name)));
    RIA_TRY(ria_buf_append_str(out, ",\"group\":"));
    RIA_TRY(ria_json_append_string(out, opening->body.group));
    RIA_TRY(ria_buf_printf(
        out,
        ",\"lock_ms\":%d,\"max_deliveries\":%d,\"order\":\"%s\",\"retry_ms\":",
        (int)said->lock_ms,
        (int)said->deliveries_max,
        said->key_order ? "key" : "none"
    ));
    RIA_TRY(queue_render_delays(said->retry_ms, said->retry_ms_count, out));
    RIA_TRY(ria_buf_append_str(out, ",\"dead_letter_topic\":"));
    RIA_TRY(
        dead_topic.size == 0 ? ria_buf_append_str(out, "null")
                             : ria_json_append_string(out, dead_topic)
    );
    RIA_TRY(render_topics(opening, said, out));
    return ria_buf_append_str(out, "}\n");
}

static void opened(struct group_op *op, const struct group_op_result *result)
{
    struct opening *opening = op->arg;
    const struct queue_open_result *said = result->body;
    struct failure failure;
    struct ria_buf out;

    if (result->err == RIA_ERR_EXISTS && opening->body.must_be_new) {
        ask(opening, false);
        return;
    }
    if (result->err != RIA_OK) {
        group_failure(&failure, result);
        request_fail(opening->request, &failure);
        return;
    }
    ria_buf_init(&out, DOCUMENT_MAX);
    ria_err err = render(opening, said, &out);
    bool is_new = said->made || (result->repeated && opening->body.must_be_new);
    gateway_respond_json(opening->request, is_new ? 201 : 200, err, &out);
}

static void ask(struct opening *opening, bool must_be_new)
{
    struct gateway *gateway = opening->gateway;

    opening->body.must_be_new = must_be_new;
    opening->body.dead_topic = opening->dead_topic;
    /* Also if it does not have to be new: it may be deleted in between. */
    opening->body.new_dead_topic = RIA_SLICE_LITERAL(QUEUE_DEAD_DEFAULT);
    if (must_be_new && opening->dead_topic.data == NULL) {
        opening->body.dead_topic = RIA_SLICE_LITERAL(QUEUE_DEAD_DEFAULT);
    }
    opening->op = (struct group_op){
        .kind = GROUP_OP_QUEUE_OPEN,
        .body = &opening->body,
        .deadline_us = ria_clock_mono_us(gateway->env->clock) +
                       (int64_t)gateway->options.request_timeout_ms * 1000,
        .repeat = true,
        .done = opened,
        .arg = opening,
    };
    group_op_start(&gateway->group_ops, &opening->op);
}

/* --- the request -------------------------------------------------------------------------------*/

static bool refuse(struct opening *opening, const char *field, const char *rule)
{
    struct failure failure;

    failure_set(&failure, 400, "invalid", field, "%s %s", field, rule);
    request_fail(opening->request, &failure);
    return false;
}

/* null, a name, or what stands for the default. */
static bool take_dead_topic(struct queue_input *input, struct opening *opening)
{
    struct ria_arena *arena = &opening->request->arena;
    const json_t *given = json_object_get(input->in.document, "dead_letter_topic");
    char reason[FAILURE_MESSAGE_MAX];

    opening->dead_topic = RIA_SLICE_NULL;
    if (given == NULL) {
        return true;
    }
    if (json_is_null(given)) {
        opening->dead_topic = RIA_SLICE_EMPTY;
        return true;
    }
    opening->dead_topic = document_scalar(given, arena);
    if (ria_slice_equal(opening->dead_topic, RIA_SLICE_LITERAL(QUEUE_DEAD_DEFAULT))) {
        return true;
    }
    if (!json_is_string(given) ||
        topic_name_check(opening->dead_topic, reason, sizeof(reason)) != RIA_OK) {
        return refuse(opening, "dead_letter_topic", "must be the name of a topic, or null");
    }
    if (ria_slice_equal(opening->dead_topic, ria_slice_cstr(input->topic->name))) {
        return refuse(opening, "dead_letter_topic", "must be another topic than the queue's");
    }
    return true;
}

static bool take_retries(struct queue_input *input, struct opening *opening)
{
    const json_t *given = json_object_get(input->in.document, "retry_ms");
    size_t count = json_array_size(given);

    if (given == NULL) {
        return true;
    }
    if (!json_is_array(given) || count > RETRIES_MAX) {
        return refuse(opening, "retry_ms", "must be up to 32 delays in milliseconds");
    }
    opening->body.retry_ms =
        ria_arena_alloc_array(&opening->request->arena, count, sizeof(*opening->body.retry_ms));
    if (opening->body.retry_ms == NULL) {
        request_fail_err(opening->request, RIA_ERR_NOMEM, "");
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(given, i);
        json_int_t value = json_integer_value(item);
        if (!json_is_integer(item) || value < 0 || value > QUEUE_DELAY_MS_MAX) {
            return refuse(
                opening, "retry_ms", "must be whole numbers from 0 to 2592000000 (30 days)"
            );
        }
        opening->body.retry_ms[opening->body.retry_ms_count++] = (uint32_t)value;
    }
    return true;
}

static bool take_numbers(struct queue_input *input, struct opening *opening)
{
    static const char *const orders[] = {"", "none", "key", NULL};
    int64_t lock_ms = 0;
    int64_t deliveries = 0;
    int order = 0;

    if (!group_input_i64(
            &input->in, "lock_ms", GROUP_LEASE_MS_MIN, GROUP_LEASE_MS_MAX, -1, &lock_ms
        ) ||
        !group_input_i64(&input->in, "max_deliveries", 1, DELIVERIES_MAX, -1, &deliveries) ||
        !group_input_word(&input->in, "order", orders, &order)) {
        return false;
    }
    opening->body.lock_ms = (int32_t)lock_ms;
    opening->body.deliveries_max = (int32_t)deliveries;
    opening->body.key_order = (int8_t)(order - 1);
    return true;
}

void handle_queue_open(struct gateway *gateway, struct request *request)
{
    static const char *const known[] = {
        "lock_ms", "max_deliveries", "order", "retry_ms", "dead_letter_topic", NULL};
    struct opening *opening = ria_arena_alloc(&request->arena, sizeof(*opening));
    struct queue_input input;

    if (opening == NULL) {
        request_fail_err(request, RIA_ERR_NOMEM, "");
        return;
    }
    if (!queue_input_open(&input, gateway, request, known)) {
        return;
    }
    opening->gateway = gateway;
    opening->request = request;
    opening->topic = input.topic;
    queue_open_init(&opening->body);
    opening->body.retry_ms = NULL; /* unchanged */
    opening->body.group = input.in.group;
    bool fine = take_numbers(&input, opening) && take_retries(&input, opening) &&
                take_dead_topic(&input, opening);
    queue_input_close(&input);
    if (fine) {
        ask(opening, true);
    }
}
