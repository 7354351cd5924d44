/* The leases of a group's stream: taken, read on, watched, committed, extended, given back. */
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

#include "schemas/gen/group_commit_result.h"

#include "services/gateway/group_stream_internal.h"

enum {
    PARTS_BYTES_MAX = 128 * 1024, /* of one reading */
    FETCH_ARENA_MAX = 8 * 1024 * 1024,
    COMMIT_ARENA_MAX = 256 * 1024,
};

#define RETRY_US (250 * INT64_C(1000))
#define WAIT_US  (3600 * INT64_C(1000000))

static int64_t renew_at(const struct group_stream *stream, int64_t left_ms)
{
    return group_stream_now(stream) + left_ms * 1000 / 2;
}

/* --- taking leases -----------------------------------------------------------------------------*/

static void acquired(struct group_fetch *fetch, const struct failure *failure)
{
    struct group_stream *stream = fetch->arg;

    stream->acquires = false;
    if (failure == NULL && fetch->held_count > 0) {
        stream->has_acquired = true;
    }
    if (group_stream_is_gone(stream)) {
        return;
    }
    stream->acquire_us = group_stream_now(stream) + (stream->has_acquired ? 0 : RETRY_US);
    if (failure != NULL && failure->status < 500 && failure->status != 429) {
        group_stream_end(stream, failure->code, failure->message);
    }
    group_stream_wake(stream);
}

void group_stream_acquire(struct group_stream *stream, group_fetch_fn done, int64_t wait_us)
{
    ria_arena_fini(&stream->fetch_arena);
    ria_arena_init(&stream->fetch_arena, FETCH_ARENA_MAX);
    stream->fetch = stream->wish;
    stream->fetch.arena = &stream->fetch_arena;
    stream->fetch.partitions_max = (int32_t)(stream->parts_max - stream->part_count);
    stream->fetch.wait_until_us = wait_us == 0 ? 0 : group_stream_now(stream) + wait_us;
    stream->fetch.done = done;
    stream->fetch.arg = stream;
    stream->acquires = true;
    if (group_fetch_start(&stream->fetch) != RIA_OK) {
        stream->acquires = false;
        stream->acquire_us = group_stream_now(stream) + RETRY_US;
        return;
    }
    stream->wish.commits = NULL; /* once */
    stream->wish.commit_count = 0;
}

static void stop_watching(struct group_stream *stream)
{
    for (uint32_t i = 0; i < stream->part_count; i++) {
        if (stream->parts[i].waits) {
            watch_cancel(&stream->parts[i].wait);
            stream->parts[i].waits = false;
            stream->parts[i].is_new = true;
        }
    }
}

static int by_topic_and_number(const void *left, const void *right)
{
    const struct cluster_partition *a = ((const struct group_part *)left)->partition;
    const struct cluster_partition *b = ((const struct group_part *)right)->partition;
    int order = memcmp(&a->topic->id, &b->topic->id, sizeof(struct ria_uuid));

    return order != 0 ? order : a->number - b->number;
}

static void lose(struct group_part *part)
{
    if (part->waits) {
        watch_cancel(&part->wait);
        part->waits = false;
    }
    part->is_lost = true;
}

/* Those that are told lost, or given back, and that no mark speaks of any more. */
static void sweep(struct group_stream *stream)
{
    uint32_t kept = 0;
    bool any = false;

    for (uint32_t i = 0; i < stream->part_count; i++) {
        any = any || (stream->parts[i].is_lost && stream->parts[i].is_told);
    }
    if (!any) {
        return;
    }
    stop_watching(stream);
    for (uint32_t i = 0; i < stream->part_count; i++) {
        if (!stream->parts[i].is_lost || !stream->parts[i].is_told) {
            stream->parts[kept++] = stream->parts[i];
        }
    }
    stream->part_count = kept;
    stream->is_moving = stream->is_moving && kept > 0;
}

static uint32_t find_part(const struct group_stream *stream, const struct cluster_partition *p)
{
    uint32_t i = 0;

    while (i < stream->part_count && (stream->parts[i].partition != p || stream->parts[i].is_lost)
    ) {
        i++;
    }
    return i;
}

static void render_failed(struct group_stream *stream, ria_err err)
{
    struct failure failure;

    failure_of_err(&failure, err == RIA_ERR_MALFORMED ? RIA_ERR_CORRUPT : err, "");
    group_stream_end(stream, failure.code, failure.message);
}

/* What it has of a partition that it was given again: that lease was over, and what was not
 * committed comes again. */
static void replace_part(struct group_stream *stream, const struct cluster_partition *partition)
{
    uint32_t at = find_part(stream, partition);

    if (at < stream->part_count) {
        lose(&stream->parts[at]);
        stream->parts[at].is_told = true; /* it goes on with it */
    }
}

/* What the fetch has leased becomes the stream's, what it has read text. */
static void take_acquired(struct group_stream *stream)
{
    struct group_fetch *fetch = &stream->fetch;
    ria_err err = RIA_OK;

    stream->has_acquired = false;
    stream->generation = fetch->generation;
    stop_watching(stream);
    for (uint32_t i = 0; i < fetch->held_count && stream->part_count < stream->parts_max; i++) {
        const struct group_held *held = &fetch->held[i];
        replace_part(stream, held->partition);
        stream->parts[stream->part_count++] = (struct group_part){
            .stream = stream,
            .partition = held->partition,
            .lease = held->lease,
            .next = held->offset,
            .written = held->offset,
            .committed = held->offset,
            .renew_us = renew_at(stream, ria_min_i64(held->left_ms, stream->lease_ms)),
            .is_new = true,
        };
    }
    qsort(stream->parts, stream->part_count, sizeof(*stream->parts), by_topic_and_number);
    for (uint32_t i = 0; err == RIA_OK && i < fetch->held_count; i++) {
        uint32_t at = find_part(stream, fetch->held[i].partition);
        if (fetch->held[i].msg != NULL && at < stream->part_count) {
            err = group_stream_render(stream, at, fetch->held[i].batches);
        }
    }
    group_reading_drop(&fetch->reading);
    if (err != RIA_OK) {
        render_failed(stream, err);
    }
}

/* --- reading on --------------------------------------------------------------------------------*/

static void read_done(struct group_reading *reading, bool entered)
{
    struct group_stream *stream = reading->arg;

    stream->reads = false;
    stream->has_read = entered;
    if (group_stream_is_gone(stream)) {
        return;
    }
    group_stream_wake(stream);
}

static void take_read(struct group_stream *stream)
{
    ria_err err = RIA_OK;

    stream->has_read = false;
    for (uint32_t i = 0; i < stream->reading.count; i++) {
        const struct group_held *held = &stream->held[i];
        uint32_t at = find_part(stream, held->partition);
        if (at == stream->part_count || stream->parts[at].lease != held->lease) {
            continue;
        }
        struct group_part *part = &stream->parts[at];
        if (held->err == RIA_ERR_OFFSET_OUT_OF_RANGE) {
            part->goes = true; /* group_fetch knows what to do there */
        } else if (held->err != RIA_OK) {
            part->retry_us = group_stream_now(stream) + RETRY_US;
        } else if (held->msg != NULL && err == RIA_OK) {
            err = group_stream_render(stream, at, held->batches);
        }
        part->is_new = held->msg != NULL;
    }
    group_reading_drop(&stream->reading);
    if (err != RIA_OK) {
        render_failed(stream, err);
    }
}

static bool has_news(struct group_stream *stream, struct group_part *part)
{
    if (part->is_lost || part->goes || stream->records_left == 0) {
        return false;
    }
    if (part->retry_us > 0) {
        bool is_due = group_stream_now(stream) >= part->retry_us;
        part->retry_us = is_due ? 0 : part->retry_us;
        return is_due;
    }
    return part->is_new || marks_get(&stream->gateway->marks, part->partition) > part->next;
}

static void read_on(struct group_stream *stream)
{
    struct group_reading *reading = &stream->reading;
    struct gateway *gateway = stream->gateway;

    *reading = (struct group_reading){
        .env = gateway->env,
        .gate = &gateway->gate,
        .leaders = &gateway->leaders,
        .marks = &gateway->marks,
        .held = stream->held,
        .bytes_max = PARTS_BYTES_MAX,
        .deadline_us =
            group_stream_now(stream) + (int64_t)gateway->options.request_timeout_ms * 1000,
        .done = read_done,
        .arg = stream,
    };
    for (uint32_t i = 0; i < stream->part_count; i++) {
        struct group_part *part = &stream->parts[i];
        if (has_news(stream, part)) {
            stream->held[reading->count++] = (struct group_held){
                .partition = part->partition,
                .lease = part->lease,
                .offset = part->next,
                .next = part->next,
                .batches = RIA_SLICE_EMPTY,
            };
        }
    }
    if (reading->count > 0) {
        stop_watching(stream);
        stream->reads = true;
        group_reading_start(reading);
    }
}

static void watched(struct watch_wait *wait, bool moved)
{
    struct group_part *part = wait->arg;

    part->waits = false;
    if (moved && wait->err == RIA_OK) {
        marks_note(&part->stream->gateway->marks, part->partition, wait->high_watermark);
        part->is_new = true;
    } else {
        part->retry_us = group_stream_now(part->stream) + RETRY_US;
    }
    group_stream_wake(part->stream);
}

static void watch_on(struct group_stream *stream)
{
    for (uint32_t i = 0; i < stream->part_count; i++) {
        struct group_part *part = &stream->parts[i];
        if (part->waits || part->is_lost || part->goes || part->retry_us > 0) {
            continue;
        }
        part->waits = true;
        part->wait = (struct watch_wait){
            .partition = part->partition,
            .offset = part->next,
            .deadline_us = group_stream_now(stream) + WAIT_US,
            .done = watched,
            .arg = part,
        };
        watch_start(&stream->gateway->watches, &part->wait);
    }
}

void group_stream_feed(struct group_stream *stream)
{
    if (stream->reads || stream->end_code != NULL) {
        return;
    }
    if (stream->has_read) {
        take_read(stream);
    }
    if (stream->text.size == 0 && stream->end_code == NULL) {
        sweep(stream);
        if (stream->has_acquired && !stream->is_moving) {
            take_acquired(stream);
        }
    }
    if (group_stream_finish_text(stream) != RIA_OK) {
        render_failed(stream, RIA_ERR_NOMEM);
        return;
    }
    group_stream_handed(stream); /* what the filter left out */
    if (stream->text.size > 0 || stream->is_moving) {
        return;
    }
    read_on(stream);
    if (!stream->reads) {
        watch_on(stream);
    }
    if (!stream->acquires && !stream->has_acquired && stream->part_count < stream->parts_max &&
        stream->records_left != 0 && group_stream_now(stream) >= stream->acquire_us) {
        group_stream_acquire(stream, acquired, WAIT_US);
    }
}

/* --- committing --------------------------------------------------------------------------------*/

static void take_answer(struct group_stream *stream, const struct group_commit_result *said)
{
    for (uint32_t i = 0; i < said->entries_count; i++) {
        const struct group_commit_group_commit_entry *entry = &stream->commit.entries[i];
        struct group_part *part = NULL;
        for (uint32_t k = 0; k < stream->part_count; k++) {
            part = stream->parts[k].lease == entry->lease_id ? &stream->parts[k] : part;
        }
        if (part == NULL || part->is_lost) {
            continue;
        }
        if (!entry->keep) {
            lose(part);
            part->is_told = said->entries[i].error_code == 0; /* it was given back */
        } else if (said->entries[i].error_code != 0) {
            lose(part);
        } else {
            part->committed = ria_max_i64(part->committed, entry->offset);
            part->renew_us = renew_at(stream, said->entries[i].left_ms);
        }
    }
}

static void committed(struct group_op *op, const struct group_op_result *result)
{
    struct group_stream *stream = op->arg;
    struct failure failure;

    stream->commits = false;
    if (group_stream_is_gone(stream)) {
        return;
    }
    if (result->err == RIA_OK) {
        take_answer(stream, result->body);
        group_stream_wake(stream);
        return;
    }
    group_failure(&failure, result);
    if (failure.status < 500 && failure.status != 429) {
        group_stream_end(stream, failure.code, failure.message);
    }
}

/* Whether, and how, the commit speaks of it. */
static bool fill(
    const struct group_stream *stream,
    struct group_part *part,
    struct group_commit_group_commit_entry *out
)
{
    bool goes = (stream->is_moving || part->goes) && stream->text.size == 0 && !stream->reads;
    bool is_behind = !stream->client_commits && part->written > part->committed;

    if (part->is_lost || (!goes && !is_behind && group_stream_now(stream) < part->renew_us)) {
        return false;
    }
    group_commit_group_commit_entry_init(out);
    out->topic_id = part->partition->topic->id;
    out->partition = part->partition->number;
    out->lease_id = part->lease;
    out->offset = is_behind ? part->written : -1;
    out->keep = !goes;
    return true;
}

void group_stream_commit(struct group_stream *stream)
{
    struct group_commit *body = &stream->commit;

    if (stream->commits) {
        return;
    }
    ria_arena_fini(&stream->commit_arena);
    ria_arena_init(&stream->commit_arena, COMMIT_ARENA_MAX);
    group_commit_init(body);
    body->group = stream->group;
    body->member = stream->member;
    body->lease_ms = (int32_t)stream->lease_ms;
    body->entries =
        ria_arena_alloc_array(&stream->commit_arena, stream->part_count, sizeof(*body->entries));
    for (uint32_t i = 0; body->entries != NULL && i < stream->part_count; i++) {
        body->entries_count += fill(stream, &stream->parts[i], &body->entries[body->entries_count]);
    }
    if (body->entries_count == 0) {
        return;
    }
    stream->commits = true;
    stream->op = (struct group_op){
        .kind = GROUP_OP_COMMIT,
        .body = body,
        .deadline_us =
            group_stream_now(stream) + (int64_t)stream->gateway->options.request_timeout_ms * 1000,
        .repeat = true,
        .done = committed,
        .arg = stream,
    };
    group_op_start(&stream->gateway->group_ops, &stream->op);
}

void group_stream_give_back(struct group_stream *stream)
{
    struct group_lease leases[GROUP_PARTITIONS_MAX];
    uint32_t count = 0;

    stop_watching(stream);
    for (uint32_t i = 0; i < stream->part_count; i++) {
        const struct group_part *part = &stream->parts[i];
        if (!part->is_lost) {
            leases[count++] = (struct group_lease){
                .topic_id = part->partition->topic->id,
                .partition = part->partition->number,
                .id = part->lease,
                .commit = stream->client_commits ? 0 : part->written,
                .may_commit = stream->client_commits,
            };
        }
    }
    stream->part_count = 0;
    group_release(&stream->gateway->group_releases, stream->group, stream->member, leases, count);
}
