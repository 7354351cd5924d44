/* GET /v1/topics/{t}/partitions/{p}/records: read a partition from an offset or a time.
 *
 *   position -> fetch -> records? -> answer
 *                  ^        | none, and the client waits
 *                  |        v
 *                  +----- watch (one parked request per storage node for all who wait) */
#include <string.h>

#include "common/assert.h"

#include "schemas/batch.h"
#include "schemas/envelope.h"
#include "schemas/gen/fetch_response.h"
#include "schemas/gen/list_offsets_response.h"

#include "services/gateway/admin.h"
#include "services/gateway/gateway.h"
#include "services/gateway/offsets.h"
#include "services/gateway/render.h"

enum {
    READ_BYTES_DEFAULT = 1024 * 1024,
    READ_TEXT_MAX = 16 * 1024 * 1024,   /* no further record is rendered past it */
    READ_TEXT_HARD = 128 * 1024 * 1024, /* with the last record, in the longest encoding */
    FETCH_REPLY_MAX = 4096,
};

struct read {
    struct gateway *gateway;
    struct request *request;
    const char *type;
    int64_t offset;
    int64_t records_max;
    int64_t bytes_max;
    int64_t wait_until_us; /* the client waits for records until then */
    bool waits;
    bool is_gone; /* nobody is there to wait any more */
    struct gate_pass pass;
    size_t charged; /* bytes inside the gate */
    struct leader_call call;
    struct watch_wait wait;
    int64_t high_watermark; /* -1: the leader does not know it yet */
    int32_t leader_epoch;   /* of the leader that said so */
    int64_t log_start;
};

static void start_fetch(struct read *read);

/* --- memory ------------------------------------------------------------------------------------*/

static void charge(struct read *read, size_t size)
{
    gate_resize(read->gateway->budget, read->charged, size);
    read->charged = size;
}

/* Takes msg or text (the other is NULL), of which data is a part. */
static void
respond_body(struct read *read, struct ria_msg *msg, uint8_t *text, struct ria_slice data)
{
    struct response response = {.status = 200, .content_type = read->type};

    charge(read, data.size);
    read->charged = 0; /* the answer's from here on */
    if (gate_fill_response(&response, read->gateway->budget, msg, text, data)) {
        request_respond(read->request, &response);
    } else {
        request_fail_err(read->request, RIA_ERR_NOMEM, "");
    }
}

/* --- answering ---------------------------------------------------------------------------------*/

static ria_err render_json(
    const struct read *read,
    struct ria_slice batches,
    struct render_range *range,
    struct ria_buf *out
)
{
    RIA_TRY(ria_buf_append_str(out, "{\"records\":["));
    RIA_TRY(render_batches(batches, RENDER_ARRAY, range, out));
    RIA_TRY(ria_buf_printf(
        out, "],\"next_offset\":%lld,\"high_watermark\":", (long long)range->next_offset
    ));
    RIA_TRY(admin_render_known(read->high_watermark, out));
    return ria_buf_printf(out, ",\"log_start_offset\":%lld}\n", (long long)read->log_start);
}

static void add_headers(const struct read *read, int64_t next_offset)
{
    request_add_header_i64(read->request, "Riacho-Next-Offset", next_offset);
    if (read->high_watermark >= 0) {
        request_add_header_i64(read->request, "Riacho-High-Watermark", read->high_watermark);
    }
    request_add_header_i64(read->request, "Riacho-Leader-Epoch", read->leader_epoch);
    request_add_header_i64(read->request, "Riacho-Log-Start-Offset", read->log_start);
}

/* Takes msg (may be NULL). Damage in a batch is a 500, not a short answer. */
static void respond_text(struct read *read, struct ria_msg *msg, struct ria_slice batches)
{
    struct render_range range = {
        .offset = read->offset,
        .records_max = (uint32_t)read->records_max,
        .size_max = READ_TEXT_MAX,
    };
    struct ria_buf out;

    ria_buf_init(&out, READ_TEXT_HARD);
    ria_err err = ria_buf_reserve(&out, batches.size + batches.size / 2 + 256);
    if (err == RIA_OK && strcmp(read->type, TYPE_JSON) == 0) {
        err = render_json(read, batches, &range, &out);
    } else if (err == RIA_OK) {
        err = render_batches(batches, RENDER_LINES, &range, &out);
    }
    ria_msg_free(msg);
    if (err != RIA_OK) {
        charge(read, 0);
        ria_buf_fini(&out);
        request_fail_err(read->request, err == RIA_ERR_MALFORMED ? RIA_ERR_CORRUPT : err, "");
        return;
    }
    add_headers(read, range.next_offset);
    uint8_t *text = NULL;
    size_t size = 0;
    ria_buf_take(&out, &text, &size);
    respond_body(read, NULL, text, ria_slice_of(text, size));
}

/* Offset behind the last whole batch. */
static int64_t end_of(struct ria_slice batches, int64_t fallback)
{
    struct batch_header header;
    int64_t end = fallback;

    while (batch_header_decode(batches, &header) == RIA_OK && batch_size(&header) <= batches.size) {
        end = batch_last_offset(&header) + 1;
        batches = ria_slice_sub(batches, batch_size(&header), batches.size);
    }
    return end;
}

static void respond(struct read *read, struct ria_msg *msg, struct ria_slice batches)
{
    if (strcmp(read->type, TYPE_BATCHES) != 0) {
        respond_text(read, msg, batches);
        return;
    }
    add_headers(read, end_of(batches, read->offset));
    respond_body(read, msg, NULL, batches);
}

/* --- positions ---------------------------------------------------------------------------------*/

static void start_list_offsets(struct read *read, int64_t timestamp, leader_call_fn done)
{
    struct gateway *gateway = read->gateway;
    int64_t now_us = ria_clock_mono_us(gateway->env->clock);

    read->call.api_key = API_LIST_OFFSETS;
    list_offsets_request_init(&read->call.body.list_offsets);
    read->call.body.list_offsets.timestamp = timestamp;
    read->call.deadline_us = now_us + (int64_t)gateway->options.request_timeout_ms * 1000;
    read->call.done = done;
    read->call.arg = read;
    leader_call_start(&gateway->leaders, &read->call);
}

static bool open_offsets(
    struct read *read, ria_err err, struct leader_reply *reply, struct list_offsets_response *out
)
{
    if (err == RIA_OK) {
        err = offsets_decode(reply, out);
    }
    if (err != RIA_OK) {
        request_fail_err(read->request, err, reply->text);
    }
    return err == RIA_OK;
}

/* "earliest", "latest" or a time: what read->offset stands for until it is known. */
enum { AT_EARLIEST = -2, AT_LATEST = -1 };

static void position_known(struct leader_call *call, ria_err err, struct leader_reply *reply)
{
    struct read *read = call->arg;
    struct list_offsets_response found;

    if (!open_offsets(read, err, reply, &found)) {
        return;
    }
    if (read->offset == AT_EARLIEST) {
        read->offset = found.log_start_offset;
    } else if (call->body.list_offsets.timestamp >= 0 && found.offset >= 0) {
        read->offset = found.offset;
    } else {
        read->offset = found.high_watermark; /* also: nothing is as new as the time asked for */
    }
    start_fetch(read);
}

static void range_known(struct leader_call *call, ria_err err, struct leader_reply *reply)
{
    struct read *read = call->arg;
    struct list_offsets_response found;
    struct failure failure;

    if (!open_offsets(read, err, reply, &found)) {
        return;
    }
    if (read->offset >= found.log_start_offset && read->offset <= found.high_watermark) {
        request_fail_err(read->request, RIA_ERR_NOT_LEADER, ""); /* who said so was deposed */
        return;
    }
    failure_set(
        &failure,
        400,
        "offset_out_of_range",
        "offset",
        "offset %lld is outside of the partition: it has %lld to %lld",
        (long long)read->offset,
        (long long)found.log_start_offset,
        (long long)found.high_watermark
    );
    request_fail(read->request, &failure);
}

/* --- fetching ----------------------------------------------------------------------------------*/

static void waited(struct watch_wait *wait, bool moved)
{
    struct read *read = wait->arg;

    read->waits = false;
    read->gateway->numbers.waiting_reads.value--;
    if (moved) {
        start_fetch(read);
    } else {
        respond(read, NULL, RIA_SLICE_EMPTY);
    }
}

static void wait_for_records(struct read *read)
{
    read->wait = (struct watch_wait){
        .partition = read->call.partition,
        .offset = read->offset,
        .deadline_us = read->wait_until_us,
        .done = waited,
        .arg = read,
    };
    read->waits = true;
    read->gateway->numbers.waiting_reads.value++;
    watch_start(&read->gateway->watches, &read->wait);
}

static void hung_up(void *arg)
{
    struct read *read = arg;

    read->is_gone = true;
    if (read->waits) {
        watch_cancel(&read->wait);
        waited(&read->wait, false);
    }
}

static ria_err open_fetch(struct read *read, const struct leader_reply *reply)
{
    struct fetch_response response;
    struct ria_arena arena;

    ria_arena_init(&arena, FETCH_REPLY_MAX);
    ria_err err = envelope_decode_body(
        schema_response(API_FETCH), reply->version, reply->body, &arena, &response
    );
    ria_arena_fini(&arena);
    if (err == RIA_OK) {
        read->high_watermark = response.high_watermark;
        read->leader_epoch = read->call.sent_epoch;
        read->log_start = response.log_start_offset;
    }
    return err;
}

static void fetched(struct leader_call *call, ria_err err, struct leader_reply *reply)
{
    struct read *read = call->arg;
    struct gateway *gateway = read->gateway;
    int64_t now_us = ria_clock_mono_us(gateway->env->clock);

    if (err == RIA_ERR_OFFSET_OUT_OF_RANGE) {
        charge(read, 0);
        start_list_offsets(read, -1, range_known);
        return;
    }
    if (err == RIA_OK) {
        err = open_fetch(read, reply);
    }
    if (err != RIA_OK) {
        charge(read, 0);
        request_fail_err(read->request, err, reply->text);
        return;
    }
    if (reply->payload.size == 0 && now_us < read->wait_until_us && !gateway->stopping &&
        !read->is_gone) {
        charge(read, 0);
        wait_for_records(read);
        return;
    }
    gateway->numbers.fetches.value++;
    gateway->numbers.fetched_bytes.value += reply->payload.size;
    if (read->wait_until_us == 0) {
        ria_histogram_record(&gateway->numbers.read_us, now_us - read->request->received_us);
    }
    respond(read, RIA_STEAL(&reply->msg), reply->payload);
}

static void entered(struct gate_pass *pass, bool may_enter)
{
    struct read *read = pass->arg;
    struct gateway *gateway = read->gateway;
    int64_t now_us = ria_clock_mono_us(gateway->env->clock);
    struct failure failure;

    if (!may_enter) {
        failure_overloaded(&failure);
        failure.outcome = OUTCOME_NONE;
        request_fail(read->request, &failure);
        return;
    }
    read->charged = pass->size;
    read->call.api_key = API_FETCH;
    fetch_request_init(&read->call.body.fetch);
    read->call.body.fetch.offset = read->offset;
    read->call.body.fetch.max_bytes = (int32_t)read->bytes_max;
    read->call.deadline_us = now_us + (int64_t)gateway->options.request_timeout_ms * 1000;
    read->call.done = fetched;
    read->call.arg = read;
    leader_call_start(&gateway->leaders, &read->call);
}

static void start_fetch(struct read *read)
{
    struct gateway *gateway = read->gateway;
    int64_t now_us = ria_clock_mono_us(gateway->env->clock);

    /* One whole batch comes, however little was asked for; text is made beside it. */
    size_t size =
        (size_t)ria_max_i64(read->bytes_max, read->call.partition->topic->config.max_message_bytes);

    read->pass = (struct gate_pass){
        .size = size,
        .deadline_us = now_us + (int64_t)gateway->options.request_timeout_ms * 1000,
        .fn = entered,
        .arg = read,
    };
    gate_enter(&gateway->gate, &read->pass);
}

/* --- the request -------------------------------------------------------------------------------*/

static void fail_query(struct request *request, const char *name, const char *rule)
{
    struct failure failure;

    failure_set(&failure, 400, "invalid_query", name, "%s %s", name, rule);
    request_fail(request, &failure);
}

/* offset= or timestamp=. False: answered. */
static bool take_position(struct read *read, int64_t *out_timestamp)
{
    struct request *request = read->request;
    struct ria_slice offset;

    if (!gateway_query_i64(request, "timestamp", 0, INT64_MAX, -1, out_timestamp)) {
        return false;
    }
    if (request_query(request, "offset", &offset) != RIA_OK) {
        fail_query(request, "offset", "cannot be decoded");
        return false;
    }
    if (*out_timestamp >= 0) {
        if (!ria_slice_is_null(offset)) {
            fail_query(request, "timestamp", "cannot come together with offset");
            return false;
        }
        read->offset = AT_LATEST;
    } else if (ria_slice_is_null(offset)) {
        fail_query(request, "offset", "is missing: a number, earliest or latest (or timestamp=)");
        return false;
    } else if (ria_slice_equal(offset, RIA_SLICE_LITERAL("earliest"))) {
        read->offset = AT_EARLIEST;
    } else if (ria_slice_equal(offset, RIA_SLICE_LITERAL("latest"))) {
        read->offset = AT_LATEST;
    } else if (!request_parse_i64(offset, &read->offset) || read->offset < 0) {
        fail_query(
            request,
            "offset",
            "must be earliest, latest or a number from 0 on (GET .../offsets tells the valid range)"
        );
        return false;
    }
    return true;
}

static bool take_type(struct read *read)
{
    read->type = gateway_record_type(read->request);
    return read->type != NULL;
}

void handle_records_read(struct gateway *gateway, struct request *request)
{
    static const char *const known[] = {
        "offset", "timestamp", "max_bytes", "max_records", "wait_ms", NULL};
    struct cluster_topic *topic = gateway_topic(gateway, request);
    struct cluster_partition *partition =
        topic == NULL ? NULL : gateway_partition(gateway, request, topic);
    int64_t timestamp = -1;
    int64_t wait_ms = 0;

    if (partition == NULL) {
        return;
    }
    struct read *read = ria_arena_alloc(&request->arena, sizeof(*read));
    if (read == NULL) {
        request_fail_err(request, RIA_ERR_NOMEM, "");
        return;
    }
    read->gateway = gateway;
    read->request = request;
    read->call.partition = partition;
    if (!gateway_query_known(request, known) || !take_type(read) ||
        !take_position(read, &timestamp) ||
        !gateway_query_i64(
            request, "max_bytes", 1, RIA_FETCH_SIZE_MAX, READ_BYTES_DEFAULT, &read->bytes_max
        ) ||
        !gateway_query_i64(request, "max_records", 1, INT32_MAX, 0, &read->records_max) ||
        !gateway_query_i64(request, "wait_ms", 0, GATEWAY_WAIT_MS_MAX, 0, &wait_ms)) {
        return;
    }
    if (wait_ms > 0) {
        read->wait_until_us = request->received_us + wait_ms * 1000;
        request_on_hangup(request, hung_up, read);
    }
    if (read->offset < 0) {
        start_list_offsets(read, timestamp, position_known);
    } else {
        start_fetch(read);
    }
}
