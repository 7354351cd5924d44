#include "services/gateway/group_stream.h"

#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

#include "services/gateway/group_stream_internal.h"

enum { STREAM_ARENA_MAX = 256 * 1024, CONTROL_MAX = 32 * 1024 };

#define STUCK_US (1000 * INT64_C(1000)) /* who takes nothing for so long gives up what it holds */

/* --- sending -----------------------------------------------------------------------------------*/

static size_t copy(uint8_t *out, size_t room, const struct ria_buf *from, size_t *at)
{
    size_t n = ria_min_size(room, from->size - *at);

    memcpy(out, from->data + *at, n);
    *at += n;
    return n;
}

/* A text of its own is to be sent next. False: there is none, or no memory. */
static bool say_next(struct group_stream *stream)
{
    ria_err err = RIA_OK;

    ria_buf_clear(&stream->control);
    stream->control_at = 0;
    if (stream->lost_told < stream->lost_count) {
        err = group_stream_say_uncommitted(stream, &stream->lost[stream->lost_told]);
        stream->lost_told += err == RIA_OK;
        return err == RIA_OK;
    }
    for (uint32_t i = 0; i < stream->part_count; i++) {
        struct group_part *part = &stream->parts[i];
        if (part->is_lost && !part->is_told) {
            err = group_stream_say_lost(stream, part);
            part->is_told = err == RIA_OK;
            return err == RIA_OK;
        }
    }
    if (stream->end_code == NULL && stream->records_left == 0) {
        group_stream_end(stream, "max_records", NULL);
    }
    if (stream->end_code != NULL) {
        stream->is_finished = true;
        return group_stream_say_end(stream) == RIA_OK;
    }
    if (stream->beat_due) {
        stream->beat_due = false;
        return group_stream_say_beat(stream) == RIA_OK;
    }
    return false;
}

/* One step. False: nothing to send. */
static bool step(struct group_stream *stream, uint8_t *out, size_t size, size_t *used)
{
    if (stream->control_at < stream->control.size) {
        *used += copy(out + *used, size - *used, &stream->control, &stream->control_at);
        return true;
    }
    if (stream->at < stream->text.size) {
        *used += copy(out + *used, size - *used, &stream->text, &stream->at);
        return true;
    }
    /* What was given in this call is not handed over yet: the text stays until the next one. */
    return stream->text.size == 0 && !stream->is_finished && say_next(stream);
}

static int64_t pull(void *owner, uint8_t *out, size_t size)
{
    struct group_stream *stream = owner;
    size_t used = 0;

    if (stream->gateway == NULL) {
        return RESPONSE_ABORT;
    }
    if (!stream->is_begun) {
        stream->is_begun = true;
        ria_arena_fini(&stream->request->arena);
    }
    stream->hungry = false;
    stream->pulled_us = group_stream_now(stream);
    group_stream_handed(stream);
    while (used < size && step(stream, out, size, &used)) {
    }
    if (used == 0 && !stream->is_finished) {
        group_stream_feed(stream);
        while (used < size && step(stream, out, size, &used)) {
        }
    }
    if (used > 0) {
        stream->sent_us = stream->pulled_us;
        return (int64_t)used;
    }
    stream->hungry = !stream->is_finished;
    return stream->is_finished ? RESPONSE_END : 0;
}

void group_stream_wake(struct group_stream *stream)
{
    if (stream->hungry && stream->request != NULL) {
        stream->hungry = false;
        request_more(stream->request);
    }
}

void group_stream_end(struct group_stream *stream, const char *code, const char *message)
{
    if (stream->end_code == NULL) {
        stream->end_code = code;
        stream->end_message = message == NULL ? NULL : strdup(message);
        group_stream_wake(stream);
    }
}

/* --- life --------------------------------------------------------------------------------------*/

static void forget(struct group_stream *stream)
{
    group_stream_clear_text(stream);
    group_reading_drop(&stream->reading);
    ria_buf_fini(&stream->control);
    ria_arena_fini(&stream->arena);
    ria_arena_fini(&stream->fetch_arena);
    ria_arena_fini(&stream->commit_arena);
    filter_set_free(RIA_STEAL(&stream->filter));
    free(RIA_STEAL(&stream->end_message));
    free(RIA_STEAL(&stream->parts));
    ria_list_remove(&stream->link);
    stream->gateway->streams.metrics.open.value--;
    stream->gateway = NULL;
}

bool group_stream_is_gone(struct group_stream *stream)
{
    struct group_fetch *fetch = &stream->fetch;

    if (stream->request != NULL) {
        return false;
    }
    if (stream->has_acquired) {
        stream->has_acquired = false;
        for (uint32_t i = 0; i < fetch->held_count; i++) {
            fetch->held[i].next = fetch->held[i].offset;
        }
        group_fetch_release(fetch);
    }
    if (!stream->acquires && !stream->reads && !stream->commits) {
        forget(stream);
        free(stream);
    }
    return true;
}

/* The request has ended, or the server has. */
static void release(void *owner)
{
    struct group_stream *stream = owner;

    stream->request = NULL;
    if (stream->gateway == NULL) {
        free(stream);
        return;
    }
    group_stream_give_back(stream);
    if (stream->acquires) {
        group_fetch_hang_up(&stream->fetch);
    } else {
        (void)group_stream_is_gone(stream);
    }
}

/* --- all streams -------------------------------------------------------------------------------*/

/* The plan has changed: what this member has is not what is its own. */
static void look_at_plan(struct group_stream *stream)
{
    int64_t generation = stream->acquires ? stream->fetch.generation : 0;

    if (stream->member.size > 0 && generation > 0 && stream->generation >= 0 &&
        generation != stream->generation) {
        stream->generation = generation;
        stream->is_moving = stream->part_count > 0;
    }
}

static void look_at(struct group_stream *stream, int64_t now_us)
{
    if (stream->request == NULL || !stream->is_begun) {
        return;
    }
    look_at_plan(stream);
    group_stream_commit(stream);
    if (now_us >= stream->ends_us) {
        group_stream_end(stream, "max_ms", NULL);
    }
    if (stream->hungry) {
        stream->beat_due = now_us - stream->sent_us >= stream->heartbeat_us;
        bool is_due = stream->beat_due || stream->lost_told < stream->lost_count ||
                      (!stream->acquires && now_us >= stream->acquire_us &&
                       stream->part_count < stream->parts_max);
        for (uint32_t i = 0; i < stream->part_count; i++) {
            const struct group_part *part = &stream->parts[i];
            is_due = is_due || part->is_lost || (part->retry_us > 0 && now_us >= part->retry_us);
        }
        if (is_due) {
            group_stream_wake(stream);
        }
    } else if (now_us - stream->pulled_us >= STUCK_US && stream->text.size > 0) {
        group_stream_drop_text(stream);
    }
}

static void tick_due(struct ria_timer *timer, void *arg)
{
    struct group_streams *streams = arg;
    const struct ria_env *env = streams->gateway->env;
    int64_t now_us = ria_clock_mono_us(env->clock);

    RIA_LIST_FOREACH (it, &streams->all) {
        look_at(RIA_CONTAINER(it, struct group_stream, link), now_us);
    }
    if (!ria_list_is_empty(&streams->all)) {
        ria_timer_start(env->timers, timer, GROUP_STREAM_TICK_US);
    }
}

void group_streams_init(struct group_streams *streams, struct gateway *gateway)
{
    streams->gateway = gateway;
    ria_list_init(&streams->all);
    ria_timer_init(&streams->tick, tick_due, streams);
}

void group_streams_fini(struct group_streams *streams)
{
    while (!ria_list_is_empty(&streams->all)) {
        struct group_stream *stream = RIA_CONTAINER(streams->all.next, struct group_stream, link);
        bool is_released = stream->request == NULL || !stream->is_answered;
        forget(stream);
        if (is_released) {
            free(stream);
        }
    }
    ria_timer_stop(streams->gateway->env->timers, &streams->tick);
}

void group_streams_stop(struct group_streams *streams)
{
    RIA_LIST_FOREACH (it, &streams->all) {
        group_stream_end(RIA_CONTAINER(it, struct group_stream, link), "shutting_down", NULL);
    }
}

void group_streams_view_changed(struct group_streams *streams)
{
    RIA_LIST_FOREACH (it, &streams->all) {
        struct group_stream *stream = RIA_CONTAINER(it, struct group_stream, link);
        for (uint32_t i = 0; i < stream->wish.topic_count; i++) {
            if (stream->wish.topics[i]->deleted) {
                group_stream_end(stream, "topic_deleted", "a topic was deleted");
            }
        }
    }
}

/* --- the beginning -----------------------------------------------------------------------------*/

/* What of its cursor counts no more outlives the fetch that has found out. */
static bool copy_lost(struct group_stream *stream, const struct group_fetch *fetch)
{
    stream->wish.lost = NULL; /* once */
    stream->wish.lost_count = 0;
    stream->lost = ria_arena_alloc_array(&stream->arena, fetch->lost_count, sizeof(*stream->lost));
    if (stream->lost == NULL) {
        return false;
    }
    if (fetch->lost_count > 0) {
        memcpy(stream->lost, fetch->lost, fetch->lost_count * sizeof(*stream->lost));
    }
    stream->lost_count = fetch->lost_count;
    return true;
}

/* The first look at the group: what is wrong is told by the status. */
static void begun(struct group_fetch *fetch, const struct failure *failure)
{
    struct group_stream *stream = fetch->arg;
    struct request *request = stream->request;
    struct response response = {
        .status = 200,
        .content_type = stream->form == STREAM_EVENTS ? TYPE_EVENTS : TYPE_NDJSON,
        .pull = pull,
        .release = release,
        .owner = stream,
    };

    stream->acquires = false;
    if (failure != NULL) {
        const struct failure why = *failure; /* it is the stream's memory */
        forget(stream);
        free(stream);
        request_fail(request, &why);
        return;
    }
    stream->has_acquired = fetch->held_count > 0;
    stream->generation = fetch->generation;
    stream->is_answered = true;
    if (!copy_lost(stream, fetch) || group_stream_say_beginning(stream) != RIA_OK) {
        group_stream_end(stream, "no_memory", "the gateway is out of memory");
    }
    stream->gateway->streams.metrics.opened.value++;
    request_add_header(request, "Cache-Control", "no-store");
    request_add_header(request, "X-Accel-Buffering", "no"); /* a proxy must not gather it */
    request_respond(request, &response);
}

static bool copy_text(struct group_stream *stream, struct ria_slice from, struct ria_slice *to)
{
    const char *text = ria_arena_strdup(&stream->arena, from);

    *to = from.size == 0 || text == NULL ? RIA_SLICE_EMPTY : ria_slice_of(text, from.size);
    return text != NULL;
}

/* Everything that is needed once the request's arena is gone. */
static bool copy_wish(struct group_stream *stream, const struct group_stream_wish *wish)
{
    struct group_fetch *fetch = &stream->wish;
    size_t size = wish->topic_count * sizeof(struct cluster_topic *);

    fetch->gateway = stream->gateway;
    fetch->member_epoch = -1;
    fetch->session_ms = (int32_t)wish->session_ms;
    fetch->lease_ms = (int32_t)wish->lease_ms;
    fetch->bytes_max = 128 * 1024;
    fetch->from_latest = wish->from_latest;
    fetch->on_range = wish->on_range;
    fetch->topic_count = wish->topic_count;
    fetch->commits = wish->commits;
    fetch->commit_count = wish->commit_count;
    fetch->lost = wish->lost;
    fetch->lost_count = wish->lost_count;
    fetch->topics =
        ria_arena_alloc_array(&stream->arena, wish->topic_count, sizeof(struct cluster_topic *));
    stream->parts = calloc(stream->parts_max, sizeof(*stream->parts));
    if (fetch->topics == NULL || stream->parts == NULL ||
        !copy_text(stream, wish->group, &stream->group) ||
        !copy_text(stream, wish->member, &stream->member)) {
        return false;
    }
    memcpy(fetch->topics, wish->topics, size);
    fetch->group = stream->group;
    fetch->member = stream->member;
    return true;
}

void group_stream_open(
    struct gateway *gateway, struct request *request, const struct group_stream_wish *wish
)
{
    struct group_stream *stream = calloc(1, sizeof(*stream));

    if (stream == NULL) {
        filter_set_free(wish->filter);
        streams_unreserve(&gateway->streams);
        request_fail_err(request, RIA_ERR_NOMEM, "");
        return;
    }
    stream->gateway = gateway;
    stream->request = request;
    stream->filter = wish->filter;
    stream->form = wish->form;
    stream->client_commits = wish->client_commits;
    stream->lease_ms = wish->lease_ms;
    stream->heartbeat_us = wish->heartbeat_ms * 1000;
    stream->records_left = wish->records_max == 0 ? -1 : wish->records_max;
    stream->parts_max = (uint32_t)wish->partitions_max;
    stream->sent_us = group_stream_now(stream);
    stream->ends_us =
        wish->time_max_ms == 0 ? INT64_MAX : stream->sent_us + wish->time_max_ms * 1000;
    ria_arena_init(&stream->arena, STREAM_ARENA_MAX);
    ria_arena_init(&stream->fetch_arena, STREAM_ARENA_MAX);
    ria_arena_init(&stream->commit_arena, STREAM_ARENA_MAX);
    ria_buf_init(&stream->control, CONTROL_MAX);
    group_stream_clear_text(stream);
    stream->reading.gate = &gateway->gate;
    ria_list_push_back(&gateway->group_streams.all, &stream->link);
    if (!gateway->group_streams.tick.active) {
        ria_timer_start(gateway->env->timers, &gateway->group_streams.tick, GROUP_STREAM_TICK_US);
    }
    if (copy_wish(stream, wish)) {
        group_stream_acquire(stream, begun, 0);
    }
    if (!stream->acquires) {
        forget(stream);
        free(stream);
        request_fail_err(request, RIA_ERR_NOMEM, "");
    }
}
