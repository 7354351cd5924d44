#include "services/gateway/group_reading.h"

#include <stdio.h>

#include "common/assert.h"

#include "schemas/envelope.h"
#include "schemas/gen/fetch_response.h"

enum {
    STRAGGLERS_US = 250 * 1000,
    FETCH_BYTES_MIN = 1024,
    FETCH_REPLY_MAX = 4096,
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
        reading->has_records = true;
    }
    if (reading->has_records && !reading->stragglers.active) {
        ria_timer_start(reading->env->timers, &reading->stragglers, STRAGGLERS_US);
    }
    held_done(held, err, err == RIA_OK ? "" : reply->text);
}

static void stragglers_due(struct ria_timer *timer, void *arg)
{
    struct group_reading *reading = arg;
    uint32_t late = reading->under_way;

    (void)timer;
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
    leader_call_start(reading->leaders, &held->call);
}

static void entered(struct gate_pass *pass, bool may_enter)
{
    struct group_reading *reading = pass->arg;
    uint32_t count = 0;

    if (!may_enter) {
        reading->done(reading, false);
        return;
    }
    reading->charged += pass->size;
    for (uint32_t i = 0; i < reading->count; i++) {
        count += !reading->held[i].is_read;
    }
    reading->under_way = count;
    for (uint32_t i = 0; i < reading->count; i++) {
        if (!reading->held[i].is_read) {
            int64_t own = reading->held[i].bytes_max;
            int64_t part = ria_max_i64(reading->bytes_max / count, FETCH_BYTES_MIN);
            read_one(reading, &reading->held[i], own > 0 ? ria_min_i64(own, part) : part);
        }
    }
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
    ria_timer_init(&reading->stragglers, stragglers_due, reading);
    reading->pass = (struct gate_pass){
        .size = (size_t)ria_max_i64(reading->bytes_max, batch_max),
        .deadline_us = reading->deadline_us,
        .fn = entered,
        .arg = reading,
    };
    gate_enter(reading->gate, &reading->pass);
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
