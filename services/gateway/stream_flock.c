#include "services/gateway/stream_flock.h"

#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

enum {
    FLOCK_LEAD_READS = 16,          /* fetches at a time */
    FLOCK_READS = 2,                /* of a flock that has not caught up */
    FLOCK_BEHIND_MAX = 1024 * 1024, /* bytes; who is further behind its flock is evicted */
    FLOCK_CHECK = 256 * 1024,
    FLOCK_GATHER_MAX = 128 * 1024, /* bytes that are there before streams are woken all the same */
};

/* Streams rest after they were served: as long as that took, and at least so long for each. */
#define FLOCK_REST_US     INT64_C(10)
#define FLOCK_SERVE_US    INT64_C(100) /* what serving one may take, on a busy machine */
#define FLOCK_REST_US_MAX (100 * INT64_C(1000))

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
    int64_t most_us = ria_min_i64(flock->hungry * FLOCK_SERVE_US, FLOCK_REST_US_MAX);
    /* One that was slow to take it does not count. */
    int64_t took_us = ria_min_i64(ria_max_i64(flock->served_us - flock->woken_us, 0), most_us);
    int64_t rest_us = ria_max_i64(flock->hungry * FLOCK_REST_US, took_us);
    int64_t due_us = flock->woken_us + took_us + rest_us;

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

void flock_fail(struct flock *flock, const char *code, const char *message)
{
    RIA_LIST_FOREACH (it, &flock->streams) {
        stream_end(RIA_CONTAINER(it, struct stream, link), code, message);
    }
}

/* Takes the piece. The flock may be gone afterwards. */
void flock_fill(struct flock *flock, struct stream_piece *piece)
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
        flock_fail(flock, "no_memory", "the gateway is out of memory; go on from the last cursor");
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
        if (!(has_more ? flock_read_start(flock, slot, INT64_MAX) : flock_watch_start(flock, slot)
            )) {
            return;
        }
    }
    flock->next_slot = (flock->next_slot + 1) % count;
    if (flock->watching == count && class->lead == NULL) {
        class->lead = flock;
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
        stream->was_fed = false;
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

    flock_watch_stop(flock);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t slot = (flock->next_slot + i) % count;
        is_behind = is_behind || flock->offsets[slot] < lead->offsets[slot];
        is_ahead = is_ahead || flock->offsets[slot] > lead->offsets[slot];
        if (flock->offsets[slot] < lead->offsets[slot] && flock->reads[slot] == NULL &&
            flock->reading < FLOCK_READS && !flock_read_start(flock, slot, lead->offsets[slot])) {
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
            flock_read_free(flock->reads[i]);
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
    stream->was_fed = false;
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
