#include "services/gateway/stream_flock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/limits.h"

#include "schemas/envelope.h"
#include "schemas/gen/fetch_response.h"
#include "schemas/gen/list_offsets_response.h"

#include "services/gateway/offsets.h"

enum {
    FLOCK_FETCH_BYTES = 128 * 1024,
    FLOCK_TEXT_MAX = 512 * 1024,    /* no further record is rendered past it */
    FLOCK_LEAD_READS = 16,          /* fetches at a time */
    FLOCK_READS = 2,                /* of a flock that has not caught up */
    FLOCK_BEHIND_MAX = 1024 * 1024, /* bytes; who is further behind its flock is evicted */
    FLOCK_CHECK = 256 * 1024,
    FLOCK_GATHER_MAX = 128 * 1024, /* bytes that are there before streams are woken all the same */
    FLOCK_REPLY_MAX = 4096,
};

/* Between two wakings, for each stream: what one costs, twice, about. */
#define FLOCK_WAKE_US     INT64_C(20)
#define FLOCK_WAKE_US_MAX (50 * INT64_C(1000))
#define FLOCK_RETRY_US    (100 * INT64_C(1000))
#define FLOCK_WATCH_US    (3600 * INT64_C(1000000))

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

/* --- classes -----------------------------------------------------------------------------------*/

static ria_err make_key(const struct stream_wish *wish, struct ria_buf *key)
{
    const uint8_t head[] = {(uint8_t)wish->form, (uint8_t)wish->policy};

    RIA_TRY(ria_buf_append(key, wish->topic->id.bytes, RIA_UUID_SIZE));
    RIA_TRY(ria_buf_append(key, head, sizeof(head)));
    RIA_TRY(ria_buf_append(key, &wish->slot_count, sizeof(wish->slot_count)));
    RIA_TRY(ria_buf_append(key, wish->partitions, wish->slot_count * sizeof(wish->partitions[0])));
    for (uint32_t i = 0; i < wish->filter_count; i++) {
        RIA_TRY(ria_buf_append(key, wish->filter_texts[i].data, wish->filter_texts[i].size));
        RIA_TRY(ria_buf_append(key, "", 1));
    }
    return RIA_OK;
}

static ria_err class_fill(struct stream_class *class, const struct stream_wish *wish)
{
    char reason[FILTER_REASON_MAX];
    size_t size = wish->slot_count * sizeof(wish->partitions[0]);
    struct filter_set *filter = NULL;

    int32_t *partitions = malloc(size);
    if (partitions == NULL) {
        return RIA_ERR_NOMEM;
    }
    memcpy(partitions, wish->partitions, size);
    class->shape = (struct stream_shape){
        .cluster_id = cluster_id(class->streams->cluster),
        .topic_id = wish->topic->id,
        .partitions = partitions,
        .slot_count = wish->slot_count,
        .form = wish->form,
    };
    RIA_TRY(filter_set_new(wish->filter_texts, wish->filter_count, &filter, reason));
    class->shape.filter = filter;
    return ria_map_put(&class->streams->classes, class->key.data, class->key.size, class);
}

void stream_class_free(struct stream_class *class)
{
    if (class == NULL) {
        return;
    }
    (void)ria_map_remove(&class->streams->classes, class->key.data, class->key.size);
    filter_set_free((struct filter_set *)(uintptr_t) class->shape.filter);
    free((void *)(uintptr_t) class->shape.partitions);
    free((void *)(uintptr_t) class->key.data);
    free(class);
}

ria_err stream_class_get(
    struct streams *streams, const struct stream_wish *wish, struct stream_class **out_class
)
{
    struct ria_buf key;
    uint8_t *data = NULL;
    size_t size = 0;

    ria_buf_init(&key, REQUEST_ARENA_MAX);
    ria_err err = make_key(wish, &key);
    struct stream_class *class =
        err == RIA_OK ? ria_map_get(&streams->classes, key.data, key.size) : NULL;
    if (err != RIA_OK || class != NULL) {
        ria_buf_fini(&key);
        *out_class = class;
        return err;
    }
    class = calloc(1, sizeof(*class));
    if (class == NULL) {
        ria_buf_fini(&key);
        return RIA_ERR_NOMEM;
    }
    ria_buf_take(&key, &data, &size);
    class->key = ria_slice_of(data, size);
    class->streams = streams;
    class->topic = wish->topic;
    class->policy = wish->policy;
    ria_list_init(&class->flocks);
    err = class_fill(class, wish);
    if (err != RIA_OK) {
        stream_class_free(class);
        return err;
    }
    *out_class = class;
    return RIA_OK;
}

void stream_class_check(struct stream_class *class)
{
    if (ria_list_is_empty(&class->flocks)) {
        stream_class_free(class);
    }
}

/* --- chains ------------------------------------------------------------------------------------*/

static struct stream_node *node_new(uint64_t position)
{
    struct stream_node *node = calloc(1, sizeof(*node));

    if (node != NULL) {
        node->refs = 1;
        node->position = position;
    }
    return node;
}

static struct stream_node *node_ref(struct stream_node *node)
{
    node->refs++;
    return node;
}

void stream_node_unref(struct stream_node *node)
{
    while (node != NULL && --node->refs == 0) {
        struct stream_node *next = node->next;
        stream_piece_unref(node->piece);
        free(node);
        node = next;
    }
}

void stream_place(const struct stream *stream, int64_t *out_offsets)
{
    const struct stream_piece *piece = stream->piece;
    const struct flock *flock = stream->flock;
    size_t size = flock->class->shape.slot_count * sizeof(out_offsets[0]);

    if (piece != NULL) {
        memcpy(out_offsets, piece->offsets, size);
        if (stream->mark == piece->mark_count) {
            out_offsets[piece->slot] = piece->next_offset;
        } else if (stream->mark > 0) {
            out_offsets[piece->slot] = piece->marks[stream->mark - 1].next_offset;
        }
        return;
    }
    const struct stream_node *node = stream->node;
    while (node->piece == NULL && node->next != NULL) {
        node = node->next;
    }
    memcpy(out_offsets, node->piece == NULL ? flock->offsets : node->piece->offsets, size);
}

/* Whoever waits at the end. */
static void wake_streams(struct flock *flock)
{
    flock->woken_us = ria_clock_mono_us(flock->class->streams->env->clock);
    flock->woken = flock->last->position;
    RIA_LIST_FOREACH (it, &flock->streams) {
        struct stream *stream = RIA_CONTAINER(it, struct stream, link);
        if (stream->hungry) {
            stream->hungry = false;
            request_more(stream->request);
        }
    }
    flock->hungry = 0;
}

static void wake_due(struct ria_timer *timer, void *arg)
{
    (void)timer;
    wake_streams(arg);
}

/* Now, or in a moment; meanwhile what comes next is read. */
static void wake_soon(struct flock *flock)
{
    struct streams *streams = flock->class->streams;
    int64_t now_us = ria_clock_mono_us(streams->env->clock);
    int64_t rest_us = ria_min_i64(flock->hungry * FLOCK_WAKE_US, FLOCK_WAKE_US_MAX);
    int64_t due_us = flock->woken_us + rest_us;

    if (due_us <= now_us || flock->last->position - flock->woken >= FLOCK_GATHER_MAX) {
        ria_timer_stop(streams->env->timers, &flock->wake);
        wake_streams(flock);
    } else if (!flock->wake.active) {
        ria_timer_start(streams->env->timers, &flock->wake, due_us - now_us);
    }
}

/* Flocks that wait for this one to go on, and this one. */
static void feed_all(struct flock *flock)
{
    struct ria_list waiting;
    struct ria_list *link;

    ria_list_init(&waiting);
    ria_list_splice(&waiting, &flock->ahead);
    while ((link = ria_list_pop_front(&waiting)) != NULL) {
        flock_feed(RIA_CONTAINER(link, struct flock, ahead_link));
    }
    flock_feed(flock);
}

static void evict_slow(struct flock *flock)
{
    uint64_t position = flock->last->position;

    if (position - flock->checked < FLOCK_CHECK) {
        return;
    }
    flock->checked = position;
    RIA_LIST_FOREACH (it, &flock->streams) {
        struct stream *stream = RIA_CONTAINER(it, struct stream, link);
        bool is_alone = flock->streams.next == flock->streams.prev;
        if (!stream->hungry && !is_alone && position > stream->node->position + FLOCK_BEHIND_MAX) {
            stream_evict(stream);
        }
    }
}

static void fail_all(struct flock *flock, const char *code, const char *message)
{
    RIA_LIST_FOREACH (it, &flock->streams) {
        stream_end(RIA_CONTAINER(it, struct stream, link), code, message);
    }
}

/* Takes the piece. The flock may be gone afterwards. */
static void fill(struct flock *flock, struct stream_piece *piece)
{
    if (piece->mark_count == 0) {
        flock->offsets[piece->slot] = piece->next_offset;
        stream_piece_unref(piece); /* nobody is woken for nothing */
        flock_feed(flock);
        return;
    }
    size_t size = piece->marks[piece->mark_count - 1].end;
    struct stream_node *next = node_new(flock->last->position + size);
    if (next == NULL) {
        stream_piece_unref(piece);
        fail_all(flock, "no_memory", "the gateway is out of memory; go on from the last cursor");
        return;
    }
    flock->offsets[piece->slot] = piece->next_offset;
    flock->last->piece = piece;
    flock->last->next = node_ref(next);
    stream_node_unref(flock->last);
    flock->last = next;
    evict_slow(flock);
    wake_soon(flock);
    feed_all(flock);
}

/* --- reading -----------------------------------------------------------------------------------*/

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

static void read_free(struct flock_read *read)
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
    read_free(read);
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
    read_free(read);
}

static void fail_err(struct flock *flock, ria_err err, const char *text)
{
    struct failure failure;

    failure_of_err(&failure, err, text);
    fail_all(flock, failure.code, failure.message);
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
        fail_all(flock, "offset_out_of_range", message);
        return;
    }
    ria_err err =
        stream_piece_gap(&class->shape, flock->offsets, slot, to, class->streams->budget, &piece);
    if (err != RIA_OK) {
        fail_err(flock, err, "");
        return;
    }
    flock->highs[slot] = INT64_MAX;
    fill(flock, piece);
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
        fail_all(flock, "topic_deleted", "the topic was deleted");
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
    fill(flock, piece);
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
        fail_all(flock, "no_memory", "the gateway is out of memory; go on from the last cursor");
        return NULL;
    }
    read->flock = flock;
    read->slot = slot;
    flock->reads[slot] = read;
    return read;
}

static bool start_read(struct flock *flock, uint32_t slot, int64_t bound)
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

static bool start_watch(struct flock *flock, uint32_t slot)
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

/* --- feeding -----------------------------------------------------------------------------------*/

/* Nobody leads, or this flock does: read what there is, watch what has nothing. */
static void feed_to_the_end(struct flock *flock)
{
    struct stream_class *class = flock->class;
    uint32_t count = class->shape.slot_count;
    uint32_t reads_max = class->lead == flock ? FLOCK_LEAD_READS : FLOCK_READS;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t slot = (flock->next_slot + i) % count;
        bool has_more = flock->highs[slot] > flock->offsets[slot];
        if (flock->reads[slot] != NULL || (has_more && flock->reading >= reads_max)) {
            continue;
        }
        if (!(has_more ? start_read(flock, slot, INT64_MAX) : start_watch(flock, slot))) {
            return;
        }
    }
    flock->next_slot = (flock->next_slot + 1) % count;
    if (flock->watching == count && class->lead == NULL) {
        class->lead = flock;
    }
}

static void stop_watching(struct flock *flock)
{
    for (uint32_t i = 0; i < flock->class->shape.slot_count && flock->watching > 0; i++) {
        if (flock->reads[i] != NULL && flock->reads[i]->state == READ_WATCH) {
            read_free(flock->reads[i]);
            flock->highs[i] = INT64_MAX; /* nobody looks any more */
        }
    }
}

/* Both stand at the same place: whoever is in this flock goes on in the leading one. */
static void merge(struct flock *flock, struct flock *lead)
{
    struct ria_list *link;

    if (flock->wake.active) {
        wake_streams(flock); /* there is something for them before what the other one brings */
    }
    flock->last->next = node_ref(lead->last);
    while ((link = ria_list_pop_front(&flock->streams)) != NULL) {
        struct stream *stream = RIA_CONTAINER(link, struct stream, link);
        ria_list_push_back(&lead->streams, link);
        stream->flock = lead;
        if (stream->node == flock->last) {
            stream_node_unref(stream->node);
            stream->node = node_ref(lead->last);
        }
        lead->hungry += stream->hungry;
    }
    flock_free(flock);
    flock_feed(lead);
}

/* Another flock leads: up to where it stands, then join it. */
static void feed_to_the_lead(struct flock *flock, struct flock *lead)
{
    uint32_t count = flock->class->shape.slot_count;
    bool is_behind = false;
    bool is_ahead = false;

    stop_watching(flock);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t slot = (flock->next_slot + i) % count;
        is_behind = is_behind || flock->offsets[slot] < lead->offsets[slot];
        is_ahead = is_ahead || flock->offsets[slot] > lead->offsets[slot];
        if (flock->offsets[slot] < lead->offsets[slot] && flock->reads[slot] == NULL &&
            flock->reading < FLOCK_READS && !start_read(flock, slot, lead->offsets[slot])) {
            return;
        }
    }
    flock->next_slot = (flock->next_slot + 1) % count;
    if (is_behind || flock->reading > 0) {
        return;
    }
    if (is_ahead) {
        ria_list_remove(&flock->ahead_link);
        ria_list_push_back(&lead->ahead, &flock->ahead_link);
        flock_feed(lead);
    } else {
        merge(flock, lead);
    }
}

void flock_feed(struct flock *flock)
{
    struct flock *lead = flock->class->lead;

    if (flock->class->streams->stopping ||
        (flock->hungry == 0 && ria_list_is_empty(&flock->ahead))) {
        return;
    }
    if (lead != NULL && lead != flock) {
        feed_to_the_lead(flock, lead);
    } else {
        feed_to_the_end(flock);
    }
}

/* --- flocks ------------------------------------------------------------------------------------*/

void flock_free(struct flock *flock)
{
    struct stream_class *class = flock->class;
    struct ria_list *link;

    for (uint32_t i = 0; flock->reads != NULL && i < class->shape.slot_count; i++) {
        if (flock->reads[i] != NULL) {
            read_free(flock->reads[i]);
        }
    }
    ria_timer_stop(class->streams->env->timers, &flock->wake);
    ria_list_remove(&flock->link);
    ria_list_remove(&flock->ahead_link);
    if (class->lead == flock) {
        class->lead = NULL;
    }
    class->streams->metrics.flocks.value--;
    /* They get on by themselves. */
    while ((link = ria_list_pop_front(&flock->ahead)) != NULL) {
        flock_feed(RIA_CONTAINER(link, struct flock, ahead_link));
    }
    stream_node_unref(flock->last);
    free(flock->offsets);
    free(flock->highs);
    free(flock->reads);
    free(flock);
}

static struct flock *
flock_new(struct stream_class *class, const int64_t *offsets, const int64_t *highs)
{
    uint32_t count = class->shape.slot_count;
    struct flock *flock = calloc(1, sizeof(*flock));

    if (flock == NULL) {
        return NULL;
    }
    flock->class = class;
    ria_list_init(&flock->streams);
    ria_list_init(&flock->ahead);
    ria_list_init(&flock->ahead_link);
    ria_timer_init(&flock->wake, wake_due, flock);
    ria_list_push_back(&class->flocks, &flock->link);
    class->streams->metrics.flocks.value++;
    flock->offsets = calloc(count, sizeof(flock->offsets[0]));
    flock->highs = calloc(count, sizeof(flock->highs[0]));
    flock->reads = calloc(count, sizeof(struct flock_read *));
    flock->last = node_new(0);
    if (flock->offsets == NULL || flock->highs == NULL || flock->reads == NULL ||
        flock->last == NULL) {
        flock_free(flock);
        return NULL;
    }
    memcpy(flock->offsets, offsets, count * sizeof(offsets[0]));
    for (uint32_t i = 0; i < count; i++) {
        flock->highs[i] = highs == NULL ? INT64_MAX : highs[i];
    }
    return flock;
}

/* One that stands there, or a new one; NULL: no memory. */
static struct flock *
flock_at(struct stream_class *class, const int64_t *offsets, const int64_t *highs)
{
    size_t size = class->shape.slot_count * sizeof(offsets[0]);
    struct flock *flock = class->lead;

    /* Without a leading one: whoever came last may stand at the same place. */
    if (flock == NULL && !ria_list_is_empty(&class->flocks)) {
        flock = RIA_CONTAINER(class->flocks.prev, struct flock, link);
    }
    if (flock != NULL && memcmp(flock->offsets, offsets, size) == 0) {
        return flock;
    }
    return flock_new(class, offsets, highs);
}

static void enter_flock(struct flock *flock, struct stream *stream)
{
    ria_list_push_back(&flock->streams, &stream->link);
    stream->flock = flock;
    stream->node = node_ref(flock->last);
}

ria_err flock_join(
    struct stream_class *class, struct stream *stream, const int64_t *offsets, const int64_t *highs
)
{
    struct flock *flock = flock_at(class, offsets, highs);

    if (flock == NULL) {
        return RIA_ERR_NOMEM;
    }
    enter_flock(flock, stream);
    return RIA_OK;
}

ria_err flock_change(struct stream *stream, const int64_t *offsets)
{
    struct flock *flock = flock_at(stream->flock->class, offsets, NULL);

    if (flock == NULL) {
        return RIA_ERR_NOMEM;
    }
    if (flock == stream->flock) {
        stream_node_unref(stream->node);
        stream->node = node_ref(flock->last);
        return RIA_OK;
    }
    /* It has somebody in it, or nobody knows it: it stays. */
    flock_leave(stream);
    enter_flock(flock, stream);
    return RIA_OK;
}

void flock_leave(struct stream *stream)
{
    struct flock *flock = stream->flock;

    ria_list_remove(&stream->link);
    flock->hungry -= stream->hungry;
    stream->hungry = false;
    stream_node_unref(stream->node);
    stream->node = NULL;
    stream->flock = NULL;
    if (ria_list_is_empty(&flock->streams)) {
        flock_free(flock);
    }
}
