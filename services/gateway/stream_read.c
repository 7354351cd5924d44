/* What is under way for one partition of a flock: wait for memory, fetch, and render; or watch. */
#include <stdio.h>
#include <stdlib.h>

#include "common/assert.h"

#include "schemas/envelope.h"
#include "schemas/gen/fetch_response.h"
#include "schemas/gen/list_offsets_response.h"

#include "services/gateway/offsets.h"
#include "services/gateway/stream_flock.h"

enum {
    FLOCK_FETCH_BYTES = 128 * 1024,
    FLOCK_TEXT_MAX = 512 * 1024, /* no further record is rendered past it */
    FLOCK_REPLY_MAX = 4096,
};

#define FLOCK_RETRY_US (100 * INT64_C(1000))
#define FLOCK_WATCH_US (3600 * INT64_C(1000000))

/* What is under way for a slot: one after the other. */
typedef enum read_state {
    READ_GATE,
    READ_FETCH,
    READ_RANGE, /* the offset is out of range: what is the range? */
    READ_RETRY,
    READ_WATCH,
} read_state;

struct flock_read {
    struct flock *flock;
    uint32_t slot;
    read_state state;
    int64_t bound;
    size_t charged;
    struct gate_pass pass;
    struct leader_call call;
    struct watch_wait wait;
    struct ria_timer retry;
};

static struct streams *streams_of(const struct flock_read *read)
{
    return read->flock->class->streams;
}

static struct cluster_partition *partition_of(const struct flock_read *read)
{
    const struct stream_class *class = read->flock->class;

    return class->topic->partitions[class->shape.partitions[read->slot]];
}

static void uncharge(struct flock_read *read)
{
    gate_resize(streams_of(read)->budget, read->charged, 0);
    read->charged = 0;
}

void flock_read_free(struct flock_read *read)
{
    struct streams *streams = streams_of(read);

    switch (read->state) {
    case READ_GATE:
        gate_leave(&read->pass);
        break;
    case READ_FETCH:
    case READ_RANGE:
        leader_call_cancel(&read->call);
        break;
    case READ_RETRY:
        ria_timer_stop(streams->env->timers, &read->retry);
        break;
    case READ_WATCH:
        watch_cancel(&read->wait);
        break;
    }
    if (read->state == READ_WATCH) {
        read->flock->watching--;
    } else {
        read->flock->reading--;
    }
    uncharge(read);
    read->flock->reads[read->slot] = NULL;
    free(read);
}

static void retry_due(struct ria_timer *timer, void *arg)
{
    struct flock_read *read = arg;
    struct flock *flock = read->flock;

    (void)timer;
    flock_read_free(read);
    flock_feed(flock);
}

static void retry_later(struct flock_read *read)
{
    struct streams *streams = streams_of(read);

    uncharge(read);
    read->state = READ_RETRY;
    ria_timer_init(&read->retry, retry_due, read);
    ria_timer_start(streams->env->timers, &read->retry, FLOCK_RETRY_US);
}

/* The call has ended: nothing to cancel. */
static void read_ended(struct flock_read *read)
{
    ria_timer_init(&read->retry, retry_due, read);
    read->state = READ_RETRY;
    flock_read_free(read);
}

static void fail_err(struct flock *flock, ria_err err, const char *text)
{
    struct failure failure;

    failure_of_err(&failure, err, text);
    flock_fail(flock, failure.code, failure.message);
}

/* By time the leader says so, the records are gone, or it has not got them yet. */
static void jump(struct flock_read *read, const struct list_offsets_response *range)
{
    struct flock *flock = read->flock;
    const struct stream_class *class = flock->class;
    uint32_t slot = read->slot;
    int64_t offset = flock->offsets[slot];
    char message[FAILURE_MESSAGE_MAX];
    struct stream_piece *piece = NULL;

    if (offset >= range->log_start_offset && offset <= range->high_watermark) {
        retry_later(read); /* it has changed since */
        return;
    }
    int64_t to = class->policy == STREAM_EARLIEST ? range->log_start_offset : range->high_watermark;
    read_ended(read);
    if (class->policy == STREAM_FAIL) {
        (void)snprintf(
            message,
            sizeof(message),
            "offset %lld is outside of partition %d: it has %lld to %lld",
            (long long)offset,
            (int)class->shape.partitions[slot],
            (long long)range->log_start_offset,
            (long long)range->high_watermark
        );
        flock_fail(flock, "offset_out_of_range", message);
        return;
    }
    ria_err err =
        stream_piece_gap(&class->shape, flock->offsets, slot, to, class->streams->budget, &piece);
    if (err != RIA_OK) {
        fail_err(flock, err, "");
        return;
    }
    flock->highs[slot] = INT64_MAX;
    flock_fill(flock, piece);
}

/* Only what no other leader and no time will heal. */
static bool is_final(const struct flock_read *read, ria_err err)
{
    return err == RIA_ERR_CORRUPT || err == RIA_ERR_IO || err == RIA_ERR_MALFORMED ||
           err == RIA_ERR_UNSUPPORTED ||
           (err == RIA_ERR_UNKNOWN_TOPIC && read->flock->class->topic->deleted);
}

/* A call ended with an error. */
static void read_failed(struct flock_read *read, ria_err err, const char *text)
{
    struct flock *flock = read->flock;

    if (!is_final(read, err)) {
        retry_later(read);
        return;
    }
    read_ended(read);
    if (flock->class->topic->deleted) {
        flock_fail(flock, "topic_deleted", "the topic was deleted");
    } else {
        fail_err(flock, err, text);
    }
}

static void range_known(struct leader_call *call, ria_err err, struct leader_reply *reply)
{
    struct flock_read *read = call->arg;
    struct list_offsets_response range;

    if (err == RIA_OK) {
        err = offsets_decode(reply, &range);
    }
    if (err != RIA_OK) {
        read_failed(read, err, reply->text);
        return;
    }
    jump(read, &range);
}

static void start_call(struct flock_read *read, int16_t api_key, leader_call_fn done)
{
    struct streams *streams = streams_of(read);

    read->call.partition = partition_of(read);
    read->call.api_key = api_key;
    read->call.deadline_us =
        ria_clock_mono_us(streams->env->clock) + (int64_t)streams->request_timeout_ms * 1000;
    read->call.done = done;
    read->call.arg = read;
    leader_call_start(streams->leaders, &read->call);
}

static void ask_range(struct flock_read *read)
{
    uncharge(read);
    read->state = READ_RANGE;
    list_offsets_request_init(&read->call.body.list_offsets);
    start_call(read, API_LIST_OFFSETS, range_known);
}

static ria_err open_fetch(const struct leader_reply *reply, int64_t *out_high)
{
    struct fetch_response response;
    struct ria_arena arena;

    ria_arena_init(&arena, FLOCK_REPLY_MAX);
    ria_err err = envelope_decode_body(
        schema_response(API_FETCH), reply->version, reply->body, &arena, &response
    );
    ria_arena_fini(&arena);
    if (err == RIA_OK) {
        *out_high = response.high_watermark;
    }
    return err;
}

/* Records came. */
static void take_batches(struct flock_read *read, struct ria_slice batches)
{
    struct flock *flock = read->flock;
    struct streams *streams = streams_of(read);
    uint32_t slot = read->slot;
    struct stream_piece *piece = NULL;
    uint64_t filtered = 0;

    ria_err err = stream_piece_new(
        &flock->class->shape,
        flock->offsets,
        slot,
        batches,
        read->bound,
        FLOCK_TEXT_MAX,
        &streams->scratch,
        streams->budget,
        &piece,
        &filtered
    );
    if (err != RIA_OK) {
        read_ended(read);
        fail_err(flock, err == RIA_ERR_MALFORMED ? RIA_ERR_CORRUPT : err, "");
        return;
    }
    if (piece->next_offset == flock->offsets[slot]) {
        stream_piece_unref(piece);
        retry_later(read);
        return;
    }
    streams->metrics.pieces.value++;
    streams->metrics.filtered.value += filtered;
    read_ended(read);
    flock_fill(flock, piece);
}

static void fetched(struct leader_call *call, ria_err err, struct leader_reply *reply)
{
    struct flock_read *read = call->arg;
    struct flock *flock = read->flock;
    int64_t high = 0;

    if (err == RIA_ERR_OFFSET_OUT_OF_RANGE) {
        ask_range(read);
        return;
    }
    if (err == RIA_OK) {
        err = open_fetch(reply, &high);
    }
    if (err != RIA_OK) {
        read_failed(read, err, reply->text);
        return;
    }
    flock->highs[read->slot] = high;
    if (reply->payload.size > 0) {
        take_batches(read, reply->payload);
    } else if (high > flock->offsets[read->slot] || read->bound != INT64_MAX) {
        retry_later(read);
    } else {
        read_ended(read);
        flock_feed(flock);
    }
}

static void entered(struct gate_pass *pass, bool may_enter)
{
    struct flock_read *read = pass->arg;

    RIA_ASSERT(may_enter); /* it has no deadline */
    read->charged = pass->size;
    read->state = READ_FETCH;
    fetch_request_init(&read->call.body.fetch);
    read->call.body.fetch.offset = read->flock->offsets[read->slot];
    read->call.body.fetch.max_bytes = FLOCK_FETCH_BYTES;
    start_call(read, API_FETCH, fetched);
}

static struct flock_read *read_new(struct flock *flock, uint32_t slot)
{
    struct flock_read *read = calloc(1, sizeof(*read));

    if (read == NULL) {
        flock_fail(flock, "no_memory", "the gateway is out of memory; go on from the last cursor");
        return NULL;
    }
    read->flock = flock;
    read->slot = slot;
    flock->reads[slot] = read;
    return read;
}

bool flock_read_start(struct flock *flock, uint32_t slot, int64_t bound)
{
    struct flock_read *read = read_new(flock, slot);

    if (read == NULL) {
        return false;
    }
    flock->reading++;
    read->bound = bound;
    read->state = READ_GATE;
    /* One whole batch comes, however little was asked for. */
    read->pass = (struct gate_pass){
        .size =
            (size_t)ria_max_i64(FLOCK_FETCH_BYTES, flock->class->topic->config.max_message_bytes),
        .deadline_us = INT64_MAX,
        .fn = entered,
        .arg = read,
    };
    gate_enter(flock->class->streams->gate, &read->pass);
    return true;
}

static void watched(struct watch_wait *wait, bool moved)
{
    struct flock_read *read = wait->arg;
    struct flock *flock = read->flock;

    if (moved) {
        flock->highs[read->slot] = INT64_MAX;
    }
    flock->watching--;
    flock->reading++;
    read_ended(read);
    flock_feed(flock);
}

bool flock_watch_start(struct flock *flock, uint32_t slot)
{
    struct flock_read *read = read_new(flock, slot);
    struct streams *streams = flock->class->streams;

    if (read == NULL) {
        return false;
    }
    flock->watching++;
    read->state = READ_WATCH;
    read->wait = (struct watch_wait){
        .partition = partition_of(read),
        .offset = flock->offsets[slot],
        .deadline_us = ria_clock_mono_us(streams->env->clock) + FLOCK_WATCH_US,
        .done = watched,
        .arg = read,
    };
    watch_start(streams->watches, &read->wait);
    return true;
}

void flock_watch_stop(struct flock *flock)
{
    for (uint32_t i = 0; i < flock->class->shape.slot_count && flock->watching > 0; i++) {
        if (flock->reads[i] != NULL && flock->reads[i]->state == READ_WATCH) {
            flock_read_free(flock->reads[i]);
            flock->highs[i] = INT64_MAX; /* nobody looks any more */
        }
    }
}
