#include "services/gateway/queue_read.h"

#include <stdlib.h>

#include "common/assert.h"

enum {
    SPANS_MAX = 64, /* fetches of one call; what needs more is not reached */
    GAP_MAX = 200,  /* offsets between two ranges that are fetched together */
    RANGES_TIMEOUT_MS = 2000,
};

static int by_partition_and_offset(const void *left, const void *right)
{
    const struct queue_grant *a = left;
    const struct queue_grant *b = right;

    if (a->range.partition != b->range.partition) {
        return a->range.partition < b->range.partition ? -1 : 1;
    }
    return a->range.first < b->range.first ? -1 : a->range.first > b->range.first;
}

static bool is_near(const struct queue_grant *before, const struct queue_grant *next)
{
    return before->partition == next->partition &&
           next->range.first - before->range.last <= GAP_MAX;
}

/* --- what came ---------------------------------------------------------------------------------*/

static void
add(struct queue_read *read,
    const struct queue_grant *grant,
    int64_t offset,
    const struct batch_record *record)
{
    RIA_ASSERT(read->record_count < read->record_room);
    struct queue_record *to = &read->records[read->record_count++];

    *to = (struct queue_record){.grant = grant, .offset = offset, .exists = record != NULL};
    if (record != NULL) {
        to->record = *record;
    }
}

/* Offsets in front of `offset` have no record. */
static void pass(struct queue_read *read, struct queue_grant *grant, int64_t offset)
{
    while (grant->reached <= grant->range.last && grant->reached < offset) {
        add(read, grant, grant->reached++, NULL);
    }
}

/* A span's grants, and where the next record may belong. */
struct walk {
    struct queue_read *read;
    uint32_t at;
    uint32_t end;
};

static void walk_to(struct walk *walk, int64_t offset)
{
    while (walk->at < walk->end) {
        struct queue_grant *grant = &walk->read->grants[walk->at];
        pass(walk->read, grant, offset);
        if (grant->reached <= grant->range.last) {
            break;
        }
        walk->at++;
    }
}

static ria_err walk_batch(struct walk *walk, struct ria_slice data)
{
    struct batch_iter iter;
    struct batch_record record;
    bool more = true;

    RIA_TRY(batch_iter_init(&iter, data));
    while (walk->at < walk->end) {
        RIA_TRY(batch_iter_next(&iter, &record, &more));
        if (!more) {
            break;
        }
        walk_to(walk, record.offset);
        struct queue_grant *grant = walk->at < walk->end ? &walk->read->grants[walk->at] : NULL;
        if (grant != NULL && grant->reached == record.offset) {
            add(walk->read, grant, grant->reached++, &record);
        }
    }
    walk_to(walk, batch_last_offset(&iter.header) + 1);
    return RIA_OK;
}

static ria_err walk_batches(struct walk *walk, struct ria_slice batches)
{
    struct batch_header header;

    while (walk->at < walk->end && batch_header_decode(batches, &header) == RIA_OK &&
           batch_size(&header) <= batches.size) {
        RIA_TRY(walk_batch(walk, batches));
        batches = ria_slice_sub(batches, batch_size(&header), batches.size);
    }
    return RIA_OK;
}

static void collect(struct queue_read *read)
{
    uint32_t at = 0;

    for (uint32_t i = 0; i < read->reading.count; i++) {
        const struct group_held *held = &read->reading.held[i];
        struct walk walk = {.read = read, .at = at, .end = read->spans[i].end};
        ria_err err = held->err;
        if (held->msg != NULL) {
            err = walk_batches(&walk, held->batches);
        } else if (read->spans[i].log_start > held->offset) {
            walk_to(&walk, read->spans[i].log_start); /* that is gone */
            err = RIA_OK;
        }
        if (err != RIA_OK && read->err == RIA_OK) {
            read->err = err == RIA_ERR_MALFORMED ? RIA_ERR_CORRUPT : err;
            read->text = held->text;
        }
        at = read->spans[i].end;
    }
    read->done(read, true);
}

static void ranges_known(struct positions *positions)
{
    struct queue_read *read = positions->arg;

    for (uint32_t i = 0; i < read->reading.count; i++) {
        struct group_held *held = &read->reading.held[i];
        for (uint32_t k = 0; k < positions->count; k++) {
            const struct position *found = &positions->items[k];
            if (!found->known || found->partition != held->partition) {
                continue;
            }
            read->spans[i].log_start = found->log_start;
            if (held->err == RIA_ERR_OFFSET_OUT_OF_RANGE &&
                position_range_has(found, held->offset)) {
                held->err = RIA_ERR_NOT_LEADER;
                held->text[0] = '\0';
            }
        }
    }
    collect(read);
}

/* False: there is nothing of the kind. */
static bool find_ranges(struct queue_read *read)
{
    struct position *items = NULL;
    uint32_t count = 0;

    for (uint32_t i = 0; i < read->reading.count; i++) {
        count += read->reading.held[i].err == RIA_ERR_OFFSET_OUT_OF_RANGE;
    }
    if (count > 0) {
        items = ria_arena_alloc_array(read->arena, count, sizeof(*items));
    }
    if (items == NULL) {
        return false;
    }
    count = 0;
    for (uint32_t i = 0; i < read->reading.count; i++) {
        if (read->reading.held[i].err == RIA_ERR_OFFSET_OUT_OF_RANGE) {
            items[count].partition = read->reading.held[i].partition;
            items[count++].kind = POSITION_LATEST;
        }
    }
    ria_err err = positions_start(
        &read->gateway->leaders, read->arena, items, count, RANGES_TIMEOUT_MS, ranges_known, read
    );
    if (err != RIA_OK) {
        read->err = err;
        read->text = "";
    }
    return err == RIA_OK;
}

static void read_done(struct group_reading *reading, bool entered)
{
    struct queue_read *read = reading->arg;

    if (!entered) {
        read->done(read, false);
    } else if (!find_ranges(read)) {
        collect(read);
    }
}

/* --- what is asked for -------------------------------------------------------------------------*/

static void make_spans(struct queue_read *read)
{
    struct group_reading *reading = &read->reading;

    for (uint32_t i = 0; i < read->grant_count; i++) {
        struct queue_grant *grant = &read->grants[i];
        grant->reached = grant->range.first;
        if (i > 0 && is_near(&grant[-1], grant)) {
            struct group_held *held = &reading->held[reading->count - 1];
            held->records_max = grant->range.last + 1 - held->offset;
            read->spans[reading->count - 1].end = i + 1;
            continue;
        }
        if (reading->count == read->span_room) {
            break;
        }
        reading->held[reading->count] = (struct group_held){
            .partition = grant->partition,
            .lease = grant->range.lease,
            .offset = grant->range.first,
            .records_max = grant->range.last + 1 - grant->range.first,
            .next = grant->range.first,
            .batches = RIA_SLICE_EMPTY,
        };
        read->spans[reading->count++] = (struct queue_span){.end = i + 1};
    }
}

/* For all that is granted. A call may read again and again: what there is is used again. */
static bool reserve(struct queue_read *read)
{
    int64_t records = 0;

    for (uint32_t i = 0; i < read->grant_count; i++) {
        records += read->grants[i].range.last - read->grants[i].range.first + 1;
    }
    RIA_ASSERT(records <= QUEUE_GRANTS_MAX);
    if (records > (int64_t)read->record_room) {
        read->record_room = read->record_room > 0 ? QUEUE_GRANTS_MAX : (uint32_t)records;
        read->records =
            ria_arena_alloc_array(read->arena, read->record_room, sizeof(*read->records));
    }
    if (ria_min_size(read->grant_count, SPANS_MAX) > read->span_room) {
        read->span_room =
            read->span_room > 0 ? SPANS_MAX : (uint32_t)ria_min_size(read->grant_count, SPANS_MAX);
        read->spans = ria_arena_alloc_array(read->arena, read->span_room, sizeof(*read->spans));
        read->held = ria_arena_alloc_array(read->arena, read->span_room, sizeof(*read->held));
    }
    return read->records != NULL && read->spans != NULL && read->held != NULL;
}

ria_err queue_read_start(struct queue_read *read)
{
    struct group_reading *reading = &read->reading;

    RIA_ASSERT(read->grant_count > 0 && read->grant_count <= QUEUE_GRANTS_MAX);
    qsort(read->grants, read->grant_count, sizeof(*read->grants), by_partition_and_offset);
    read->record_count = 0;
    read->err = RIA_OK;
    read->text = "";
    if (!reserve(read)) {
        return ria_arena_err(read->arena);
    }
    *reading = (struct group_reading){
        .env = read->gateway->env,
        .gate = &read->gateway->gate,
        .leaders = &read->gateway->leaders,
        .marks = &read->gateway->marks,
        .cache = &read->gateway->fetch_cache,
        .held = read->held,
        .bytes_max = read->bytes_max,
        .deadline_us = read->deadline_us,
        .done = read_done,
        .arg = read,
    };
    make_spans(read);
    group_reading_start(reading);
    return RIA_OK;
}

void queue_read_drop(struct queue_read *read)
{
    if (read->reading.gate != NULL) {
        group_reading_drop(&read->reading);
    }
    read->record_count = 0;
}
