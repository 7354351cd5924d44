#include "services/gateway/queue_input.h"

#include "services/gateway/cursor.h"

/* group_input takes the group from the path's first parameter. */
static void turn_params(struct request *request)
{
    struct ria_slice topic = request->params[0];

    request->params[0] = request->params[1];
    request->params[1] = topic;
}

bool queue_input_open(
    struct queue_input *input,
    struct gateway *gateway,
    struct request *request,
    const char *const *known
)
{
    turn_params(request);
    if (!group_input_open(&input->in, gateway, request, known)) {
        return false;
    }
    input->topic = group_input_topic(&input->in, "topic", request->params[1]);
    if (input->topic == NULL) {
        queue_input_close(input);
        return false;
    }
    return true;
}

void queue_input_close(struct queue_input *input)
{
    group_input_close(&input->in);
}

/* --- locks -------------------------------------------------------------------------------------*/

static bool refuse(struct queue_input *input, int status, const char *code, const char *text)
{
    struct failure failure;

    failure_set(&failure, status, code, "locks", "%s; nothing was done", text);
    request_fail(input->in.request, &failure);
    return false;
}

static bool
refuse_lock(struct queue_input *input, uint32_t index, const char *code, const char *text)
{
    struct failure failure;

    failure_set(&failure, 400, code, "locks", "locks[%u]: %s; nothing was done", index, text);
    request_fail(input->in.request, &failure);
    return false;
}

static bool take_lock(
    struct queue_input *input, struct ria_slice text, uint32_t index, struct queue_named_lock *out
)
{
    struct request *request = input->in.request;
    struct ria_uuid cluster = cluster_id(input->in.gateway->cluster);
    const char *copy = ria_arena_strdup(&request->arena, text);

    lock_verdict verdict = queue_lock_decode(text, &cluster, &request->arena, &out->lock);
    if (copy == NULL || verdict == LOCK_NO_MEMORY) {
        request_fail_err(request, RIA_ERR_NOMEM, "");
        return false;
    }
    out->text = ria_slice_of(copy, text.size);
    if (verdict != LOCK_FINE) {
        return refuse_lock(input, index, "lock_invalid", lock_verdict_text(verdict));
    }
    if (out->lock.group != cursor_group_hash(input->in.group)) {
        return refuse_lock(input, index, "lock_invalid", "the lock is of another group");
    }
    if (!ria_uuid_equal(out->lock.topic_id, input->topic->id)) {
        return refuse_lock(
            input,
            index,
            "lock_stale",
            "the lock is of another topic, or of one of this name that was deleted since"
        );
    }
    return true;
}

static bool take_all(
    struct queue_input *input, const json_t *array, struct queue_named_lock *locks, uint32_t count
)
{
    uint32_t ranges = 0;

    for (uint32_t i = 0; i < count; i++) {
        const json_t *item = json_is_array(array) ? json_array_get(array, i) : array;
        if (!json_is_string(item)) {
            return refuse_lock(input, i, "invalid", "must be a string that a receive returned");
        }
        struct ria_slice text = ria_slice_of(json_string_value(item), json_string_length(item));
        if (!take_lock(input, text, i, &locks[i])) {
            return false;
        }
        ranges += locks[i].lock.count;
    }
    return ranges <= QUEUE_LOCK_RANGES_MAX ||
           refuse(input, 400, "limit", "the locks name more than 1000 ranges of records");
}

bool queue_input_locks(
    struct queue_input *input, struct queue_named_lock **out_locks, uint32_t *out_count
)
{
    const json_t *locks = json_object_get(input->in.document, "locks");
    const json_t *one = json_object_get(input->in.document, "lock");

    if ((locks == NULL) == (one == NULL)) {
        return refuse(input, 400, "invalid", "name the locks in \"locks\", or one in \"lock\"");
    }
    locks = locks == NULL ? one : locks;
    size_t count = json_is_array(locks) ? json_array_size(locks) : 1;
    if (count == 0 || count > QUEUE_LOCKS_MAX) {
        return refuse(input, 400, "limit", "there must be 1 to 1000 locks in one call");
    }
    *out_locks = ria_arena_alloc_array(&input->in.request->arena, count, sizeof(**out_locks));
    if (*out_locks == NULL) {
        request_fail_err(input->in.request, RIA_ERR_NOMEM, "");
        return false;
    }
    *out_count = (uint32_t)count;
    return take_all(input, locks, *out_locks, *out_count);
}

ria_err queue_render_delays(const uint32_t *delays_ms, uint32_t count, struct ria_buf *out)
{
    RIA_TRY(ria_buf_append_str(out, "["));
    for (uint32_t i = 0; i < count; i++) {
        RIA_TRY(ria_buf_printf(out, "%s%u", i > 0 ? "," : "", (unsigned)delays_ms[i]));
    }
    return ria_buf_append_str(out, "]");
}
