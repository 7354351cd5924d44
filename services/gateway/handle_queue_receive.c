/* POST /v1/queues/{topic}/{group}/receive: records to work on, each under a lock.
 *
 * An answer that did not reach the socket as a whole is not handed out: its records are given back
 * at once. */
#include <string.h>

#include "common/json.h"

#include "services/gateway/cursor.h"
#include "services/gateway/gateway.h"
#include "services/gateway/queue_fetch.h"
#include "services/gateway/queue_input.h"
#include "services/gateway/render.h"

enum {
    RECORDS_DEFAULT = 100,
    BYTES_DEFAULT = 1024 * 1024,
    TEXT_MAX = 16 * 1024 * 1024,   /* no further record is rendered past it */
    TEXT_HARD = 128 * 1024 * 1024, /* with the last record, in the longest encoding */
    LOCKS_HEADER_MAX = 2048,       /* a longer lock of everything is not in a header */
    LEAD_MAX = 4096,
};

static const char *const types[] = {TYPE_JSON, TYPE_NDJSON, NULL};

struct receiver {
    struct gateway *gateway;
    struct request *request;
    const char *type;
    uint32_t rendered;
    struct queue_fetch fetch;
};

/* --- rendering ---------------------------------------------------------------------------------*/

static struct queue_range range_of(const struct queue_record *record)
{
    struct queue_range range = record->grant->range;

    range.first = record->offset;
    range.last = record->offset;
    return range;
}

static ria_err render_lock(
    struct receiver *receiver, struct queue_range *ranges, uint32_t count, struct ria_buf *out
)
{
    struct ria_uuid cluster = cluster_id(receiver->gateway->cluster);
    struct queue_lock lock = {
        .topic_id = receiver->fetch.topic->id,
        .group = cursor_group_hash(receiver->fetch.group),
        .ranges = ranges,
        .count = count,
    };

    return queue_lock_encode(&lock, &cluster, &receiver->request->arena, out);
}

static ria_err render_one(
    struct receiver *receiver,
    const struct queue_record *record,
    struct ria_buf *lead,
    struct ria_buf *out
)
{
    struct queue_range range = range_of(record);

    ria_buf_clear(lead);
    RIA_TRY(ria_buf_append_str(lead, "\"topic\":"));
    RIA_TRY(ria_json_append_string(lead, ria_slice_cstr(receiver->fetch.topic->name)));
    RIA_TRY(ria_buf_printf(
        lead,
        ",\"partition\":%d,\"deliveries\":%d,\"locked_until\":%lld,\"lock\":\"",
        (int)range.partition,
        (int)record->grant->deliveries,
        (long long)record->grant->until_ms
    ));
    RIA_TRY(render_lock(receiver, &range, 1, lead));
    RIA_TRY(ria_buf_append_str(lead, "\","));
    RIA_TRY(ria_buf_append(lead, "", 1));
    return render_record(out, (const char *)lead->data, &record->record);
}

/* As many as the limits allow; sets receiver->rendered. */
static ria_err render_records(struct receiver *receiver, bool lines, struct ria_buf *out)
{
    const struct queue_read *read = &receiver->fetch.read;
    struct ria_buf lead;
    ria_err err = RIA_OK;

    ria_buf_init(&lead, LEAD_MAX);
    for (uint32_t i = 0; err == RIA_OK && i < read->record_count && out->size < TEXT_MAX &&
                         i < (uint32_t)receiver->fetch.records_max;
         i++) {
        if (!lines && i > 0) {
            err = ria_buf_append_str(out, ",");
        }
        if (err == RIA_OK) {
            err = render_one(receiver, &read->records[i], &lead, out);
        }
        if (err == RIA_OK && lines) {
            err = ria_buf_append_str(out, "\n");
        }
        receiver->rendered = i + 1;
    }
    ria_buf_fini(&lead);
    return err;
}

/* One lock of all that was rendered; nothing if that is nothing. */
static ria_err render_all_lock(struct receiver *receiver, struct ria_buf *out)
{
    const struct queue_read *read = &receiver->fetch.read;
    struct queue_range *ranges =
        ria_arena_alloc_array(&receiver->request->arena, receiver->rendered, sizeof(*ranges));
    uint32_t count = 0;

    if (ranges == NULL) {
        return ria_arena_err(&receiver->request->arena);
    }
    for (uint32_t i = 0; i < receiver->rendered; i++) {
        struct queue_range range = range_of(&read->records[i]);
        struct queue_range *last = count == 0 ? NULL : &ranges[count - 1];
        if (last != NULL && last->partition == range.partition && last->lease == range.lease &&
            last->last + 1 == range.first) {
            last->last = range.first;
        } else {
            ranges[count++] = range;
        }
    }
    return count == 0 ? RIA_OK : render_lock(receiver, ranges, count, out);
}

static ria_err render_json(struct receiver *receiver, struct ria_buf *out)
{
    RIA_TRY(ria_buf_append_str(out, "{\"records\":["));
    RIA_TRY(render_records(receiver, false, out));
    RIA_TRY(ria_buf_append_str(out, receiver->rendered == 0 ? "],\"locks\":" : "],\"locks\":\""));
    RIA_TRY(render_all_lock(receiver, out));
    return ria_buf_printf(
        out,
        "%s,\"full\":%s}\n",
        receiver->rendered == 0 ? "null" : "\"",
        receiver->fetch.full ? "true" : "false"
    );
}

static ria_err render_lines(struct receiver *receiver, struct ria_buf *out)
{
    struct ria_buf lock;

    RIA_TRY(render_records(receiver, true, out));
    ria_buf_init(&lock, QUEUE_LOCK_TEXT_MAX);
    ria_err err = render_all_lock(receiver, &lock);
    if (err == RIA_OK && lock.size > 0 && lock.size <= LOCKS_HEADER_MAX) {
        const char *text = ria_arena_strdup(&receiver->request->arena, ria_buf_slice(&lock));
        if (text != NULL) {
            request_add_header(receiver->request, "Riacho-Locks", text);
        }
    }
    ria_buf_fini(&lock);
    return err;
}

/* --- answering ---------------------------------------------------------------------------------*/

/* What the client did not get as a whole is free for others at once. */
static void ended(void *arg, bool complete)
{
    struct receiver *receiver = arg;

    if (!complete) {
        queue_fetch_give_back(&receiver->fetch, 0);
    }
}

static void hung_up(void *arg)
{
    struct receiver *receiver = arg;

    queue_fetch_hang_up(&receiver->fetch);
}

static void fail(struct receiver *receiver, ria_err err)
{
    queue_fetch_give_back(&receiver->fetch, 0);
    request_fail_err(receiver->request, err, "");
}

/* The records' messages go, what is known of their locks stays until the answer was sent. */
static void drop_bytes(struct receiver *receiver)
{
    struct queue_read *read = &receiver->fetch.read;
    uint32_t count = receiver->rendered;

    queue_fetch_give_back(&receiver->fetch, count);
    read->record_count = count;
}

static void received(struct queue_fetch *fetch, const struct failure *failure)
{
    struct receiver *receiver = fetch->arg;
    struct budget *budget = receiver->gateway->budget;
    struct response response = {.status = 200, .content_type = receiver->type};
    uint8_t *text = NULL;
    size_t size = 0;
    struct ria_buf out;

    if (failure != NULL) {
        request_fail(receiver->request, failure);
        return;
    }
    ria_buf_init(&out, TEXT_HARD);
    ria_err err = ria_buf_reserve(&out, fetch->read.reading.charged * 3 / 2 + 512);
    if (err == RIA_OK) {
        err = strcmp(receiver->type, TYPE_JSON) == 0 ? render_json(receiver, &out)
                                                     : render_lines(receiver, &out);
    }
    if (err != RIA_OK) {
        ria_buf_fini(&out);
        fail(receiver, err == RIA_ERR_MALFORMED ? RIA_ERR_CORRUPT : RIA_ERR_NOMEM);
        return;
    }
    receiver->gateway->numbers.queue_records.value += receiver->rendered;
    drop_bytes(receiver);
    ria_buf_take(&out, &text, &size);
    gate_resize(budget, 0, size);
    if (gate_fill_response(&response, budget, NULL, text, ria_slice_of(text, size))) {
        request_respond(receiver->request, &response);
    } else {
        fail(receiver, RIA_ERR_NOMEM);
    }
}

/* --- the request -------------------------------------------------------------------------------*/

static bool take_type(struct receiver *receiver)
{
    struct failure failure;

    receiver->type = media_type_choose(request_header(receiver->request, "Accept"), types);
    if (receiver->type == NULL) {
        failure_set(
            &failure,
            406,
            "not_acceptable",
            "Accept",
            "records come as " TYPE_JSON " or " TYPE_NDJSON
        );
        request_fail(receiver->request, &failure);
    }
    return receiver->type != NULL;
}

static bool take_numbers(struct queue_input *input, struct queue_fetch *fetch)
{
    struct group_input *in = &input->in;
    int64_t records = 0;
    int64_t wait_ms = 0;
    int64_t lock_ms = 0;

    if (!group_input_i64(in, "max_records", 1, QUEUE_RECORDS_MAX, RECORDS_DEFAULT, &records) ||
        !group_input_i64(
            in, "max_bytes", 1, RIA_FETCH_SIZE_MAX, BYTES_DEFAULT, &fetch->bytes_max
        ) ||
        !group_input_i64(in, "wait_ms", 0, GATEWAY_WAIT_MS_MAX, 0, &wait_ms) ||
        !group_input_i64(in, "lock_ms", GROUP_LEASE_MS_MIN, GROUP_LEASE_MS_MAX, -1, &lock_ms)) {
        return false;
    }
    fetch->records_max = (int32_t)records;
    fetch->lock_ms = (int32_t)lock_ms;
    fetch->wait_until_us = wait_ms > 0 ? in->request->received_us + wait_ms * 1000 : 0;
    return true;
}

static bool take_consumer(struct queue_input *input, struct queue_fetch *fetch)
{
    struct ria_slice text;

    if (!group_input_text(&input->in, "consumer", &text)) {
        return false;
    }
    fetch->consumer = RIA_SLICE_EMPTY;
    if (text.size == 0) {
        return true;
    }
    /* The document goes before the call ends. */
    const char *copy = ria_arena_strdup(&input->in.request->arena, text);
    if (copy == NULL) {
        request_fail_err(input->in.request, RIA_ERR_NOMEM, "");
        return false;
    }
    fetch->consumer = ria_slice_of(copy, text.size);
    return group_input_name(input->in.request, "consumer", fetch->consumer);
}

void handle_queue_receive(struct gateway *gateway, struct request *request)
{
    static const char *const known[] = {
        "max_records", "max_bytes", "wait_ms", "lock_ms", "consumer", NULL};
    struct receiver *receiver = ria_arena_alloc(&request->arena, sizeof(*receiver));
    struct queue_input input;

    if (receiver == NULL) {
        request_fail_err(request, RIA_ERR_NOMEM, "");
        return;
    }
    receiver->gateway = gateway;
    receiver->request = request;
    if (!take_type(receiver) || !queue_input_open(&input, gateway, request, known)) {
        return;
    }
    struct queue_fetch *fetch = &receiver->fetch;
    fetch->gateway = gateway;
    fetch->arena = &request->arena;
    fetch->group = input.in.group;
    fetch->topic = input.topic;
    fetch->done = received;
    fetch->arg = receiver;
    bool fine = take_numbers(&input, fetch) && take_consumer(&input, fetch);
    queue_input_close(&input);
    if (!fine) {
        return;
    }
    request_on_end(request, ended, receiver);
    request_on_hangup(request, hung_up, receiver);
    queue_fetch_start(fetch);
}
