#include "services/gateway/group_reading.h"

#include <stdio.h>

#include "common/assert.h"

#include "schemas/batch.h"
#include "schemas/envelope.h"
#include "schemas/gen/fetch_response.h"

enum {
    STRAGGLERS_US = 250 * 1000,
    AHEAD_STRAGGLERS_US = 1000, /* all of them wait for records */
    FETCH_BYTES_MIN = 1024,
    FETCH_REPLY_MAX = 4096,
    /* Of a partition of which few records are wanted: the next ones come along. */
    FETCH_AHEAD = 64 * 1024,
    FETCH_RECORDS_MAX = 1 << 20, /* more are not few */
};

static void charge(struct group_reading *reading, size_t size)
{
    gate_resize(reading->gate->budget, reading->charged, size);
    reading->charged = size;
}

static void finish(struct group_reading *reading)
{
    size_t size = 0;

    ria_timer_stop(reading->env->timers, &reading->stragglers);
    for (uint32_t i = 0; i < reading->count; i++) {
        size += reading->held[i].batches.size;
    }
    charge(reading, size);
    reading->done(reading, true);
}

static ria_err open_fetch(struct group_held *held, const struct leader_reply *reply)
{
    struct fetch_response response;
    struct ria_arena arena;

    ria_arena_init(&arena, FETCH_REPLY_MAX);
    ria_err err = envelope_decode_body(
        schema_response(API_FETCH), reply->version, reply->body, &arena, &response
    );
    ria_arena_fini(&arena);
    if (err == RIA_OK) {
        held->high_watermark = response.high_watermark;
        held->log_start = response.log_start_offset;
        marks_note(held->reading->marks, held->partition, response.high_watermark);
    }
    return err;
}

static void held_done(struct group_held *held, ria_err err, const char *text)
{
    held->err = err;
    (void)snprintf(held->text, sizeof(held->text), "%s", text);
    held->under_way = false;
    held->is_read = true;
    if (--held->reading->under_way == 0) {
        finish(held->reading);
    }
}

/* --- partitions of which few records are wanted ------------------------------------------------*/

/* Enough for the records, as far as one can tell; 0: nobody knows how large they are. The first may
 * stand at the end of a batch. What did not fit is asked for again, and by then it is known better.
 */
static int64_t bytes_wanted(const struct group_reading *reading, const struct group_held *held)
{
    struct marks_sizes sizes = marks_sizes_get(reading->marks, held->partition);
    int64_t records = ria_min_i64(held->records_max, FETCH_RECORDS_MAX);

    return sizes.record == 0
               ? 0
               : ria_max_i64(
                     (int64_t)sizes.batch + 2 * records * (int64_t)sizes.record, FETCH_AHEAD
                 );
}

static bool wants_few(const struct group_reading *reading, const struct group_held *held)
{
    return reading->cache != NULL && held->records_max > 0;
}

/* Notes how large what came is, wanted or not, and keeps it for those who want what follows. */
static void keep_rest(struct group_reading *reading, const struct group_held *held)
{
    struct fetched fetched = {
        .batches = held->batches,
        .first = INT64_MAX,
        .high_watermark = held->high_watermark,
        .log_start = held->log_start,
    };
    struct ria_slice batches = held->batches;
    struct marks_sizes sizes = {0};
    struct batch_header header;
    int64_t records = 0;

    while (batch_header_decode(batches, &header) == RIA_OK && batch_size(&header) <= batches.size) {
        sizes.batch = batch_size(&header) > sizes.batch ? batch_size(&header) : sizes.batch;
        records += batch_last_offset(&header) - header.base_offset + 1;
        fetched.first = ria_min_i64(fetched.first, header.base_offset);
        fetched.end = batch_last_offset(&header) + 1;
        batches = ria_slice_sub(batches, batch_size(&header), batches.size);
    }
    if (records <= 0) {
        return;
    }
    sizes.record = held->batches.size / (size_t)records + 1;
    marks_sizes_note(reading->marks, held->partition, sizes);
    fetched.first = ria_max_i64(fetched.first, held->log_start);
    if (fetched.end - held->offset > held->records_max && fetched.first < fetched.end) {
        fetch_cache_put(reading->cache, held->partition, held->call.sent_epoch, &fetched);
    }
}

static int64_t last_wanted(const struct group_held *held)
{
    return held->offset + ria_min_i64(held->records_max, FETCH_RECORDS_MAX) - 1;
}

/* Bytes, at most, of what is wanted, if all of it seems to be here; else 0. */
static size_t cached_size(const struct group_reading *reading)
{
    size_t size = 0;

    for (uint32_t i = 0; i < reading->count; i++) {
        const struct group_held *held = &reading->held[i];
        if (held->is_read) {
            continue;
        }
        size_t own =
            wants_few(reading, held)
                ? fetch_cache_has(reading->cache, held->partition, held->offset, last_wanted(held))
                : 0;
        if (own == 0) {
            return 0;
        }
        size += own;
    }
    return size;
}

/* False: the leader must be asked. */
static bool take_cached(struct group_reading *reading, struct group_held *held, int64_t bytes)
{
    struct fetched fetched;

    held->msg = fetch_cache_get(
        reading->cache, held->partition, held->offset, last_wanted(held), bytes, &fetched
    );
    if (held->msg == NULL) {
        return false;
    }
    held->err = RIA_OK;
    held->text[0] = '\0';
    held->batches = fetched.batches;
    held->log_start = fetched.log_start;
    held->high_watermark =
        ria_max_i64(fetched.high_watermark, marks_get(reading->marks, held->partition));
    held->is_read = true;
    return true;
}

/* --- leaders -----------------------------------------------------------------------------------*/

static void expect_stragglers(struct group_reading *reading)
{
    reading->has_records = true;
    if (!reading->stragglers.active) {
        ria_timer_start(
            reading->env->timers,
            &reading->stragglers,
            reading->wait_ms > 0 ? AHEAD_STRAGGLERS_US : STRAGGLERS_US
        );
    }
}

static void fetched(struct leader_call *call, ria_err err, struct leader_reply *reply)
{
    struct group_held *held = call->arg;
    struct group_reading *reading = held->reading;

    if (err == RIA_OK) {
        err = open_fetch(held, reply);
    }
    if (err == RIA_OK && reply->payload.size > 0) {
        held->batches = reply->payload;
        held->msg = RIA_STEAL(&reply->msg);
        expect_stragglers(reading);
        if (wants_few(reading, held)) {
            keep_rest(reading, held);
        }
    }
    held_done(held, err, err == RIA_OK ? "" : reply->text);
}

static void stragglers_due(struct ria_timer *timer, void *arg)
{
    struct group_reading *reading = arg;
    uint32_t late = reading->under_way;

    (void)timer;
    if (late == 0) { /* it was all here */
        finish(reading);
        return;
    }
    for (uint32_t i = 0; late > 0 && i < reading->count; i++) {
        struct group_held *held = &reading->held[i];
        if (held->under_way) {
            late--; /* with the last one the reading is over and may be gone */
            leader_call_cancel(&held->call);
            held_done(held, RIA_ERR_TIMEOUT, "the partition's leader does not answer");
        }
    }
}

static void read_one(struct group_reading *reading, struct group_held *held, int64_t bytes)
{
    held->reading = reading;
    held->under_way = true;
    held->err = RIA_OK;
    held->text[0] = '\0';
    held->call = (struct leader_call){
        .partition = held->partition,
        .api_key = API_FETCH,
        .deadline_us = reading->deadline_us,
        .done = fetched,
        .arg = held,
    };
    fetch_request_init(&held->call.body.fetch);
    held->call.body.fetch.offset = held->offset;
    held->call.body.fetch.max_bytes = (int32_t)bytes;
    held->call.body.fetch.wait_ms = (int32_t)reading->wait_ms;
    leader_call_start(reading->leaders, &held->call);
}

/* --- the gate ----------------------------------------------------------------------------------*/

static void read_all(struct group_reading *reading)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < reading->count; i++) {
        count += !reading->held[i].is_read;
    }
    for (uint32_t i = 0; i < reading->count; i++) {
        struct group_held *held = &reading->held[i];
        int64_t part = ria_max_i64(reading->bytes_max / count, FETCH_BYTES_MIN);
        if (held->is_read) {
            continue;
        }
        if (wants_few(reading, held) && take_cached(reading, held, part)) {
            expect_stragglers(reading);
            continue;
        }
        int64_t own = wants_few(reading, held) ? bytes_wanted(reading, held) : 0;
        reading->under_way++;
        read_one(reading, held, own > 0 ? ria_min_i64(own, part) : part);
    }
    if (reading->under_way == 0) {
        ria_timer_start(reading->env->timers, &reading->stragglers, 0);
    }
}

static void enter(struct group_reading *reading, size_t size);

static void entered(struct gate_pass *pass, bool may_enter)
{
    struct group_reading *reading = pass->arg;

    if (!may_enter) {
        reading->done(reading, false);
        return;
    }
    if (reading->is_cached && cached_size(reading) == 0) {
        /* Gone, while it waited. */
        gate_resize(reading->gate->budget, pass->size, 0);
        reading->is_cached = false;
        enter(reading, reading->size_max);
        return;
    }
    reading->charged += pass->size;
    read_all(reading);
}

static void enter(struct group_reading *reading, size_t size)
{
    reading->pass = (struct gate_pass){
        .size = size,
        .deadline_us = reading->deadline_us,
        .fn = entered,
        .arg = reading,
    };
    gate_enter(reading->gate, &reading->pass);
}

void group_reading_start(struct group_reading *reading)
{
    int64_t batch_max = 0;

    for (uint32_t i = 0; i < reading->count; i++) {
        const struct group_held *held = &reading->held[i];
        if (!held->is_read) {
            batch_max = ria_max_i64(batch_max, held->partition->topic->config.max_message_bytes);
        }
    }
    RIA_ASSERT(batch_max > 0);
    reading->has_records = false;
    reading->under_way = 0;
    reading->size_max = (size_t)ria_max_i64(reading->bytes_max, batch_max);
    ria_timer_init(&reading->stragglers, stragglers_due, reading);
    size_t size = cached_size(reading);
    reading->is_cached = size > 0;
    enter(reading, size > 0 ? size : reading->size_max);
}

void group_reading_drop(struct group_reading *reading)
{
    if (reading->stragglers.active) {
        ria_timer_stop(reading->env->timers, &reading->stragglers);
    }
    for (uint32_t i = 0; i < reading->count; i++) {
        ria_msg_free(reading->held[i].msg);
        reading->held[i].msg = NULL;
        reading->held[i].batches = RIA_SLICE_EMPTY;
    }
    charge(reading, 0);
}
