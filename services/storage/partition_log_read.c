/* Reading a log (partition_log.h): where an offset or a time is, and the bytes, checked. */
#include <stdlib.h>

#include "common/assert.h"

#include "services/storage/log_state.h"

/* ---- locate ---- */

/* The nearest place at or before offset where a read ended. NULL if there is none. */
static struct log_hint *
hint_for(struct partition_log *log, const struct segment *segment, int64_t offset)
{
    struct log_hint *best = NULL;

    for (uint32_t i = 0; i < LOG_HINTS; i++) {
        struct log_hint *hint = &log->hints[i];
        if (hint->place.offset >= 0 && hint->segment_base_offset == segment->base_offset &&
            hint->place.offset <= offset &&
            (best == NULL || hint->place.offset > best->place.offset)) {
            best = hint;
        }
    }
    return best;
}

/* The reader will go on at `place`; used is the hint it came by, which it needs no more. */
static void leave_hint(
    struct partition_log *log,
    struct log_hint *used,
    const struct segment *segment,
    struct segment_place place
)
{
    if (used == NULL) {
        used = &log->hints[log->hint_next];
        log->hint_next = (log->hint_next + 1) % LOG_HINTS;
    }
    used->segment_base_offset = segment->base_offset;
    used->place = place;
}

void log_report_bad_place(
    struct partition_log *log, const struct segment *segment, struct segment_place place
)
{
    int64_t next = segment->next_offset;

    if (segment->offsets_loaded) {
        uint32_t relative =
            offset_index_next(&segment->offsets, (uint32_t)(place.offset - segment->base_offset));
        next = ria_min_i64(next, segment->base_offset + relative);
    }
    if (place.offset < next) {
        log_report_damage(log, place.offset, next);
    }
}

static ria_err locate_in(
    struct partition_log *log,
    struct segment *segment,
    int64_t offset,
    int64_t end_offset,
    uint32_t max_bytes,
    struct partition_log_range *out_range
)
{
    struct log_hint *hint = hint_for(log, segment, offset);
    struct segment_place from;
    struct segment_place end;

    ria_err err = segment_seek(segment, offset, hint == NULL ? NULL : &hint->place, &from);
    if (err == RIA_OK) {
        end = from;
        err = segment_extent(segment, from, end_offset, max_bytes, &end);
        if (err == RIA_ERR_CORRUPT && end.position > from.position) {
            err = RIA_OK; /* what is before the bad one can be read */
        } else if (err == RIA_ERR_CORRUPT) {
            from = end;
        }
    }
    if (err == RIA_ERR_CORRUPT) {
        log_report_bad_place(log, segment, from);
    }
    if (err != RIA_OK) {
        return err;
    }
    if (end.position > from.position) {
        leave_hint(log, hint, segment, end);
    }
    *out_range = (struct partition_log_range){
        .segment_base_offset = segment->base_offset,
        .position = from.position,
        .size = (uint32_t)(end.position - from.position),
        .base_offset = from.offset,
        .next_offset = end.position > from.position ? end.offset : offset,
    };
    return RIA_OK;
}

ria_err partition_log_locate(
    struct partition_log *log,
    int64_t offset,
    int64_t end_offset,
    uint32_t max_bytes,
    struct partition_log_range *out_range
)
{
    const struct log_damage *damage = log_damage_from(log, offset);

    if (damage != NULL && damage->from_offset <= offset && offset >= log->start_offset) {
        return RIA_ERR_CORRUPT;
    }
    if (offset >= partition_log_end_offset(log) && offset < log->lost.to_offset) {
        return RIA_ERR_CORRUPT;
    }
    end_offset = ria_min_i64(end_offset, partition_log_end_offset(log));
    if (offset < log->start_offset || offset > end_offset) {
        return RIA_ERR_OFFSET_OUT_OF_RANGE;
    }
    if (damage != NULL) {
        end_offset = ria_min_i64(end_offset, damage->from_offset);
    }
    struct segment *segment = log->segments[log_segment_at(log, offset)];
    if (offset == end_offset) {
        *out_range = (struct partition_log_range
        ){.segment_base_offset = segment->base_offset,
          .base_offset = offset,
          .next_offset = offset};
        return RIA_OK;
    }
    RIA_ASSERT(offset >= segment->base_offset && offset < segment->next_offset);
    RIA_TRY(locate_in(log, segment, offset, end_offset, max_bytes, out_range));
    if (out_range->size == 0 && damage != NULL && end_offset == damage->from_offset) {
        /* A batch that reaches into the hole: it is the hole's. */
        log_report_damage(log, out_range->base_offset, end_offset);
        return RIA_ERR_CORRUPT;
    }
    return RIA_OK;
}

/* ---- read ---- */

static struct segment *segment_of(const struct partition_log *log, int64_t base_offset)
{
    struct segment *segment = log->segments[log_segment_at(log, base_offset)];
    return segment->base_offset == base_offset ? segment : NULL;
}

ria_err log_check_batch(
    const struct partition_log *log,
    struct ria_slice bytes,
    int64_t offset,
    struct batch_header *out_header
)
{
    const struct leader_epochs *epochs = &log->epochs;

    if (batch_header_decode(bytes, out_header) != RIA_OK || batch_size(out_header) > bytes.size ||
        !segment_header_joins(out_header, offset < 0 ? out_header->base_offset : offset)) {
        return RIA_ERR_MALFORMED;
    }
    int32_t epoch = leader_epochs_at(epochs->entries, epochs->count, out_header->base_offset);
    bool is_before = epoch < 0 && epochs->count > 0; /* epochs never fall */
    if ((epoch >= 0 && epoch != out_header->leader_epoch) ||
        (is_before && out_header->leader_epoch > epochs->entries[0].epoch)) {
        return RIA_ERR_CORRUPT;
    }
    return batch_check_crc(ria_slice_sub(bytes, 0, batch_size(out_header)));
}

/* Whole, joined, good batches? The first bad one is reported. */
static ria_err check_range(
    struct partition_log *log, const struct partition_log_range *range, struct ria_slice bytes
)
{
    struct batch_header header;
    int64_t offset = range->base_offset;

    while (bytes.size > 0) {
        ria_err err = log_check_batch(log, bytes, offset, &header);
        if (err != RIA_OK) {
            /* The word of a bad batch for its own end counts for little, but it is what a walk over
             * the headers goes by. */
            int64_t to = range->next_offset;
            if (err == RIA_ERR_CORRUPT) {
                to = ria_min_i64(to, batch_last_offset(&header) + 1);
            }
            log_report_damage(log, offset, to);
            return RIA_ERR_CORRUPT;
        }
        offset = batch_last_offset(&header) + 1;
        bytes = ria_slice_sub(bytes, batch_size(&header), bytes.size);
    }
    return RIA_OK;
}

ria_err
partition_log_read(struct partition_log *log, const struct partition_log_range *range, uint8_t *out)
{
    struct segment *segment = segment_of(log, range->segment_base_offset);

    if (range->size == 0) {
        return RIA_OK;
    }
    if (segment == NULL || range->position > segment->size ||
        range->size > segment->size - range->position) {
        return RIA_ERR_OFFSET_OUT_OF_RANGE;
    }
    RIA_TRY(segment_read(segment, range->position, range->size, out));
    return check_range(log, range, ria_slice_of(out, range->size));
}

/* ---- by time ---- */

struct time_search {
    struct partition_log *log;
    int64_t timestamp_ms;
    int64_t end_offset;
    int64_t found_offset; /* -1: not yet */
    int64_t found_timestamp_ms;
};

/* Storage looks into records here only: the time index leads to a batch, the answer is a record. */
static ria_err search_records(struct time_search *search, struct ria_slice batch)
{
    struct batch_iter iter;
    struct batch_record record;
    bool more = true;

    RIA_TRY(batch_iter_init(&iter, batch));
    for (;;) {
        RIA_TRY(batch_iter_next(&iter, &record, &more));
        if (!more || record.offset >= search->end_offset) {
            return RIA_OK;
        }
        if (record.timestamp_ms >= search->timestamp_ms) {
            search->found_offset = record.offset;
            search->found_timestamp_ms = record.timestamp_ms;
            return RIA_OK;
        }
    }
}

static ria_err search_batch(
    struct time_search *search,
    struct segment *segment,
    uint64_t position,
    const struct batch_header *header
)
{
    struct partition_log_range range = {
        .segment_base_offset = segment->base_offset,
        .position = position,
        .size = (uint32_t)batch_size(header),
        .base_offset = header->base_offset,
        .next_offset = batch_last_offset(header) + 1,
    };
    uint8_t *bytes = malloc(range.size);

    if (bytes == NULL) {
        return RIA_ERR_NOMEM;
    }
    ria_err err = partition_log_read(search->log, &range, bytes);
    if (err == RIA_OK) {
        err = search_records(search, ria_slice_of(bytes, range.size));
    }
    free(bytes);
    /* Its CRC is right, so what its producer wrote is what we have. */
    return err == RIA_ERR_MALFORMED ? RIA_OK : err;
}

static ria_err search_segment(struct time_search *search, struct segment *segment)
{
    struct segment_place place;
    struct segment_walk walk;
    struct batch_header header;
    bool more = true;

    if (!segment->times_loaded) {
        RIA_TRY(segment_load_times(segment));
    }
    uint32_t relative = time_index_find(&segment->times, search->timestamp_ms);
    RIA_TRY(segment_seek(segment, segment->base_offset + relative, NULL, &place));
    RIA_TRY(segment_walk_init(&walk, segment, place));
    while (search->found_offset < 0 && walk.place.offset < search->end_offset) {
        uint64_t position = walk.place.position;
        RIA_TRY(segment_walk_next(&walk, &header, &more));
        if (!more) {
            return RIA_OK;
        }
        if (header.max_timestamp >= search->timestamp_ms) {
            RIA_TRY(search_batch(search, segment, position, &header));
        }
    }
    return RIA_OK;
}

ria_err partition_log_find_time(
    struct partition_log *log,
    int64_t timestamp_ms,
    int64_t end_offset,
    int64_t *out_offset,
    int64_t *out_timestamp_ms
)
{
    struct time_search search = {
        .log = log,
        .timestamp_ms = timestamp_ms,
        .end_offset = ria_min_i64(end_offset, partition_log_end_offset(log)),
        .found_offset = -1,
        .found_timestamp_ms = -1,
    };

    for (uint32_t i = 0; i < log->segment_count && search.found_offset < 0; i++) {
        struct segment *segment = log->segments[i];
        if (segment->size > 0 && segment->max_timestamp >= timestamp_ms &&
            segment->base_offset < search.end_offset) {
            RIA_TRY(search_segment(&search, segment));
        }
    }
    *out_offset = search.found_offset;
    *out_timestamp_ms = search.found_timestamp_ms;
    return RIA_OK;
}
