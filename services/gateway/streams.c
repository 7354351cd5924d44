#include "services/gateway/streams.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/json.h"

#include "services/gateway/gateway.h"
#include "services/gateway/stream_flock.h"

enum {
    STREAM_RETRY_MS = 2000, /* what browsers are told to wait before they come back */
    STREAM_CONTROL_MAX = 64 * 1024,
    STREAM_TICK_US = 250 * 1000,
    STREAM_STUCK_US = 1000 * 1000, /* who takes nothing for so long gives up what it holds */
};

/* --- texts of a stream's own -------------------------------------------------------------------*/

/* The place, in the form's way, with what `before` and `after` it is. */
static ria_err append_place(
    const struct stream *stream, const char *before, const char *after, struct ria_buf *out
)
{
    int64_t offsets[CURSOR_FITS_TOPIC];
    char text[CURSOR_TEXT_MAX + 1];
    size_t size = 0;

    stream_place(stream, offsets);
    stream_place_text(&stream->flock->class->shape, offsets, text, &size);
    RIA_TRY(ria_buf_append_str(out, before));
    RIA_TRY(ria_buf_append(out, text, size));
    return ria_buf_append_str(out, after);
}

static bool is_events(const struct stream *stream)
{
    return stream->flock->class->shape.form == STREAM_EVENTS;
}

static ria_err append_beginning(const struct stream *stream, struct ria_buf *out)
{
    if (!is_events(stream)) {
        return append_place(stream, "{\"cursor\":\"", "\"}\n", out);
    }
    RIA_TRY(ria_buf_printf(out, "retry: %d\n", STREAM_RETRY_MS));
    return append_place(stream, "id: ", "\n\n", out);
}

/* A cursor of the beginning has them behind it. */
static ria_err
append_gaps(const struct stream *stream, const struct stream_wish *wish, struct ria_buf *out)
{
    for (uint32_t i = 0; i < wish->slot_count; i++) {
        if (wish->asked[i] != wish->offsets[i]) {
            RIA_TRY(ria_buf_printf(
                out,
                is_events(stream)
                    ? "event: gap\ndata: {\"partition\":%d,\"from\":%lld,\"to\":%lld}\n\n"
                    : "{\"gap\":{\"partition\":%d,\"from\":%lld,\"to\":%lld}}\n",
                (int)wish->partitions[i],
                (long long)wish->asked[i],
                (long long)wish->offsets[i]
            ));
        }
    }
    return RIA_OK;
}

/* With a filter the place has moved, perhaps, without an event. */
static ria_err append_beat(const struct stream *stream, struct ria_buf *out)
{
    if (!is_events(stream)) {
        return append_place(stream, "{\"cursor\":\"", "\"}\n", out);
    }
    if (stream->flock->class->shape.filter != NULL) {
        return append_place(stream, ":\nid: ", "\n\n", out);
    }
    return ria_buf_append_str(out, ":\n\n");
}

static ria_err append_end(const struct stream *stream, struct ria_buf *out)
{
    bool events = is_events(stream);

    RIA_TRY(ria_buf_append_str(out, events ? "event: end\n" : "{\"end\":"));
    if (events) {
        RIA_TRY(append_place(stream, "id: ", "\ndata: ", out));
    }
    if (stream->end_message == NULL) {
        RIA_TRY(ria_buf_printf(out, "{\"reason\":\"%s\"}", stream->end_code));
    } else {
        RIA_TRY(ria_buf_printf(out, "{\"error\":{\"code\":\"%s\",\"message\":", stream->end_code));
        RIA_TRY(ria_json_append_string(out, ria_slice_cstr(stream->end_message)));
        RIA_TRY(ria_buf_append_str(out, "}}"));
    }
    return events ? ria_buf_append_str(out, "\n\n")
                  : append_place(stream, ",\"cursor\":\"", "\"}\n", out);
}

/* Has the text sent next, if there was memory for it (err). False: there was not. Takes out. */
static bool send_next(struct stream *stream, ria_err err, struct ria_buf *out)
{
    RIA_ASSERT(stream->control == NULL);
    if (err != RIA_OK) {
        ria_buf_fini(out);
        return false;
    }
    ria_buf_take(out, &stream->control, &stream->control_size);
    stream->control_at = 0;
    return true;
}

/* Makes the text and has it sent next. False: no memory. */
static bool say(struct stream *stream, ria_err (*append)(const struct stream *, struct ria_buf *))
{
    struct ria_buf out;

    ria_buf_init(&out, STREAM_CONTROL_MAX);
    ria_err err = append(stream, &out);
    return send_next(stream, err, &out);
}

static bool say_beginning(struct stream *stream, const struct stream_wish *wish)
{
    struct ria_buf out;

    ria_buf_init(&out, STREAM_CONTROL_MAX);
    ria_err err = append_beginning(stream, &out);
    if (err == RIA_OK) {
        err = append_gaps(stream, wish, &out);
    }
    return send_next(stream, err, &out);
}

/* --- sending -----------------------------------------------------------------------------------*/

static struct ria_slice room_of(uint8_t *out, size_t size, size_t used)
{
    return ria_slice_of(out + used, size - used);
}

static size_t copy(struct ria_slice room, const uint8_t *from, size_t size)
{
    size_t n = ria_min_size(room.size, size);

    if (n > 0) {
        memcpy((uint8_t *)(uintptr_t)room.data, from, n);
    }
    return n;
}

static size_t send_control(struct stream *stream, struct ria_slice room)
{
    size_t n =
        copy(room, stream->control + stream->control_at, stream->control_size - stream->control_at);

    stream->control_at += n;
    if (stream->control_at == stream->control_size) {
        free(stream->control);
        stream->control = NULL;
    }
    return n;
}

static bool is_inside_event(const struct stream *stream)
{
    const struct stream_piece *piece = stream->piece;

    return piece != NULL &&
           stream->at > (stream->mark == 0 ? 0 : piece->marks[stream->mark - 1].end);
}

/* To the next node of the chain, if the piece is this node's. */
static void drop_piece(struct stream *stream)
{
    struct stream_node *node = stream->node;

    if (node->piece == stream->piece) {
        stream->node = node->next;
        stream->node->refs++;
        stream_node_unref(node);
    }
    stream_piece_unref(RIA_STEAL(&stream->piece));
}

/* False: there is none yet. */
static bool take_piece(struct stream *stream)
{
    struct stream_node *node = stream->node;

    while (node->piece == NULL && node->next != NULL) {
        stream->node = node->next;
        stream->node->refs++;
        stream_node_unref(node);
        node = stream->node;
    }
    if (node->piece == NULL) {
        return false;
    }
    stream->piece = stream_piece_ref(node->piece);
    stream->mark = 0;
    stream->mark_end = stream->piece->mark_count;
    stream->at = 0;
    return true;
}

static void count_events(struct stream *stream, uint32_t count)
{
    if (stream->piece->has_records) {
        stream->streams->metrics.records.value += count;
        if (stream->records_left > 0) {
            stream->records_left -= count;
        }
    }
}

/* Whole events, as many as there is room for; a part of one only if it is the first and does not
 * fit
 * (`is_first`) or was begun. */
static size_t send_events(struct stream *stream, struct ria_slice room, bool is_first)
{
    const struct stream_piece *piece = stream->piece;
    uint32_t end = stream->mark_end;

    if (piece->has_records && stream->records_left > 0) {
        end = (uint32_t)ria_min_i64(end, stream->mark + stream->records_left);
    }
    uint32_t mark = stream->mark;
    while (mark < end && piece->marks[mark].end - stream->at <= room.size) {
        mark++;
    }
    size_t to = mark > stream->mark ? piece->marks[mark - 1].end : stream->at;
    if (mark == stream->mark && (is_first || is_inside_event(stream))) {
        to = stream->at + room.size;
    }
    size_t n = copy(room, piece->text + stream->at, to - stream->at);
    stream->at += n;
    stream->was_fed = true;
    count_events(stream, mark - stream->mark);
    stream->mark = mark;
    if (stream->records_left == 0) {
        stream_end(stream, "max_records", NULL);
    } else if (mark == stream->mark_end) {
        drop_piece(stream);
    }
    return n;
}

/* One step. False: nothing to send. */
static bool step(struct stream *stream, uint8_t *out, size_t size, size_t *used)
{
    struct ria_slice room = room_of(out, size, *used);

    if (stream->control != NULL) {
        *used += send_control(stream, room);
        return true;
    }
    if (stream->is_finished) {
        return false;
    }
    if (stream->end_code != NULL && !is_inside_event(stream)) {
        stream->is_finished = true;
        return say(stream, append_end);
    }
    if (stream->piece != NULL || take_piece(stream)) {
        size_t n = send_events(stream, room, *used == 0);
        *used += n;
        return n > 0;
    }
    if (stream->beat_due) {
        stream->beat_due = false;
        return say(stream, append_beat);
    }
    return false;
}

static void take_steps(struct stream *stream, uint8_t *out, size_t size, size_t *used)
{
    while (*used < size && step(stream, out, size, used)) {
    }
}

static void eat(struct stream *stream)
{
    stream->flock->hungry -= stream->hungry;
    stream->hungry = false;
}

static int64_t pull(void *owner, uint8_t *out, size_t size)
{
    struct stream *stream = owner;
    size_t used = 0;

    if (stream->streams == NULL) {
        return RESPONSE_ABORT;
    }
    if (!stream->is_begun) {
        /* The head is on its way: thousands of idle streams need not keep their queries. */
        stream->is_begun = true;
        ria_arena_fini(&stream->request->arena);
    }
    eat(stream);
    stream->pulled_us = ria_clock_mono_us(stream->streams->env->clock);
    take_steps(stream, out, size, &used);
    while (used == 0 && !stream->is_finished) {
        stream->hungry = true;
        stream->flock->hungry++;
        if (stream->was_fed) {
            stream->was_fed = false;
            stream->flock->served_us = stream->pulled_us;
        }
        flock_feed(stream->flock);
        if (stream->hungry && stream->end_code == NULL) {
            break;
        }
        /* Woken, or ended, while it was being fed: it does not sleep yet, so nobody wakes it. */
        eat(stream);
        take_steps(stream, out, size, &used);
    }
    if (used > 0) {
        stream->sent_us = stream->pulled_us;
        return (int64_t)used;
    }
    return stream->is_finished ? RESPONSE_END : 0;
}

/* --- life --------------------------------------------------------------------------------------*/

void stream_end(struct stream *stream, const char *code, const char *message)
{
    if (stream->end_code != NULL) {
        return;
    }
    stream->end_code = code;
    stream->end_message = message == NULL ? NULL : strdup(message);
    if (stream->hungry) {
        eat(stream);
        request_more(stream->request);
    }
}

void stream_evict(struct stream *stream)
{
    const struct stream_class *class = stream->flock->class;
    int64_t offsets[CURSOR_FITS_TOPIC];
    bool is_inside = is_inside_event(stream);

    stream->streams->metrics.evicted.value++;
    if (is_inside) {
        memcpy(offsets, stream->piece->offsets, class->shape.slot_count * sizeof(offsets[0]));
        offsets[stream->piece->slot] = stream->piece->marks[stream->mark].next_offset;
    } else {
        stream_place(stream, offsets);
    }
    if (flock_change(stream, offsets) != RIA_OK) {
        return; /* it holds what it holds, then */
    }
    if (is_inside) {
        stream->mark_end = stream->mark + 1; /* the event that was begun is finished first */
    } else {
        stream_piece_unref(RIA_STEAL(&stream->piece));
    }
}

static void detach(struct stream *stream)
{
    stream_piece_unref(RIA_STEAL(&stream->piece));
    free(RIA_STEAL(&stream->control));
    free(RIA_STEAL(&stream->end_message));
    ria_list_remove(&stream->all);
    stream->streams->metrics.open.value--;
    stream->streams = NULL;
}

/* The request has ended, or the server has. */
static void release(void *owner)
{
    struct stream *stream = owner;

    if (stream->streams != NULL) {
        struct stream_class *class = stream->flock->class;
        detach(stream);
        flock_leave(stream);
        stream_class_check(class);
    }
    free(stream);
}

/* --- all streams -------------------------------------------------------------------------------*/

static void look_at(struct stream *stream, int64_t now_us)
{
    if (now_us >= stream->ends_us) {
        stream_end(stream, "max_ms", NULL);
    }
    if (stream->hungry) {
        if (now_us - stream->sent_us >= stream->heartbeat_us) {
            stream->beat_due = true;
            request_more(stream->request);
        }
        return;
    }
    /* The socket is full: what is held for it is read again when it is not. */
    bool holds =
        stream->piece != NULL ? stream->node->piece == stream->piece : stream->node->next != NULL;
    if (holds && now_us - stream->pulled_us >= STREAM_STUCK_US) {
        stream_evict(stream);
    }
}

static void tick_due(struct ria_timer *timer, void *arg)
{
    struct streams *streams = arg;
    int64_t now_us = ria_clock_mono_us(streams->env->clock);

    RIA_LIST_FOREACH (it, &streams->all) {
        look_at(RIA_CONTAINER(it, struct stream, all), now_us);
    }
    if (!ria_list_is_empty(&streams->all)) {
        ria_timer_start(streams->env->timers, timer, STREAM_TICK_US);
    }
}

void streams_init(
    struct streams *streams,
    const struct ria_env *env,
    struct cluster *cluster,
    struct leader_calls *leaders,
    struct watches *watches,
    struct gate *gate,
    uint32_t streams_max,
    uint32_t request_timeout_ms
)
{
    *streams = (struct streams){
        .env = env,
        .cluster = cluster,
        .leaders = leaders,
        .watches = watches,
        .gate = gate,
        .budget = gate->budget,
        .streams_max = streams_max,
        .request_timeout_ms = request_timeout_ms,
    };
    ria_map_init(&streams->classes);
    ria_list_init(&streams->all);
    ria_timer_init(&streams->tick, tick_due, streams);
    filter_scratch_init(&streams->scratch);
}

void streams_fini(struct streams *streams)
{
    streams->stopping = true;
    while (!ria_list_is_empty(&streams->all)) {
        struct stream *stream = RIA_CONTAINER(streams->all.next, struct stream, all);
        struct stream_class *class = stream->flock->class;
        detach(stream);
        flock_leave(stream);
        stream_class_check(class);
    }
    ria_timer_stop(streams->env->timers, &streams->tick);
    ria_map_fini(&streams->classes);
    filter_scratch_fini(&streams->scratch);
}

bool streams_reserve(struct streams *streams)
{
    if (streams->metrics.open.value >= (int64_t)streams->streams_max) {
        streams->metrics.refused.value++;
        return false;
    }
    streams->metrics.open.value++;
    return true;
}

void streams_unreserve(struct streams *streams)
{
    streams->metrics.open.value--;
}

static void respond(struct stream *stream)
{
    bool events = is_events(stream);
    struct response response = {
        .status = 200,
        .content_type = events ? TYPE_EVENTS : TYPE_NDJSON,
        .pull = pull,
        .release = release,
        .owner = stream,
    };

    request_add_header(stream->request, "Cache-Control", "no-store");
    request_add_header(stream->request, "X-Accel-Buffering", "no"); /* a proxy must not gather it */
    request_respond(stream->request, &response);
}

static void set_limits(struct stream *stream, const struct stream_wish *wish)
{
    int64_t now_us = ria_clock_mono_us(stream->streams->env->clock);

    stream->heartbeat_us = wish->heartbeat_ms * 1000;
    stream->records_left = wish->records_max == 0 ? -1 : wish->records_max;
    stream->ends_us = wish->time_max_ms == 0 ? INT64_MAX : now_us + wish->time_max_ms * 1000;
    stream->sent_us = now_us;
    stream->pulled_us = now_us;
}

ria_err
streams_open(struct streams *streams, struct request *request, const struct stream_wish *wish)
{
    struct stream *stream = calloc(1, sizeof(*stream));
    struct stream_class *class = NULL;

    if (stream == NULL) {
        streams_unreserve(streams);
        return RIA_ERR_NOMEM;
    }
    stream->streams = streams;
    stream->request = request;
    set_limits(stream, wish);
    ria_err err = stream_class_get(streams, wish, &class);
    if (err == RIA_OK) {
        err = flock_join(class, stream, wish->offsets, wish->highs);
        if (err != RIA_OK) {
            stream_class_check(class);
        }
    }
    if (err != RIA_OK) {
        streams_unreserve(streams);
        free(stream);
        return err;
    }
    ria_list_push_back(&streams->all, &stream->all);
    streams->metrics.opened.value++;
    if (!streams->tick.active) {
        ria_timer_start(streams->env->timers, &streams->tick, STREAM_TICK_US);
    }
    if (!say_beginning(stream, wish)) {
        stream_end(stream, "no_memory", "the gateway is out of memory");
    }
    if (streams->stopping) {
        stream_end(stream, "shutting_down", NULL);
    }
    respond(stream);
    return RIA_OK;
}

void streams_stop(struct streams *streams)
{
    streams->stopping = true;
    RIA_LIST_FOREACH (it, &streams->all) {
        stream_end(RIA_CONTAINER(it, struct stream, all), "shutting_down", NULL);
    }
}

void streams_view_changed(struct streams *streams)
{
    RIA_LIST_FOREACH (it, &streams->all) {
        struct stream *stream = RIA_CONTAINER(it, struct stream, all);
        if (stream->flock->class->topic->deleted) {
            stream_end(stream, "topic_deleted", "the topic was deleted");
        }
    }
}
