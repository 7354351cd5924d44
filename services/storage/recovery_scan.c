#include "services/storage/recovery_scan.h"

#include "common/assert.h"
#include "common/limits.h"

enum {
    READ_SIZE = 1024 * 1024,
    SEARCH_CRC_MAX = 256 * 1024 * 1024, /* bytes checked in search of a good batch behind damage */
};
_Static_assert(READ_SIZE > (int)BATCH_HEADER_SIZE, "a window holds a header");

/* The part of the file that is in memory. */
struct window {
    struct recovery_scan *scan;
    struct ria_file *file;
    uint8_t *data;
    size_t room;
    uint64_t position;
    size_t size;
};

/* Have [position, position + size) in memory. The file has that many bytes. */
static ria_err
window_get(struct window *w, uint64_t position, size_t size, struct ria_slice *out_bytes)
{
    bool has_it = position >= w->position && position + size <= w->position + w->size;

    if (!has_it) {
        if (size > w->room) {
            w->data = segment_cache_scratch(w->scan->log->cache, size);
            w->room = w->data == NULL ? 0 : size;
        }
        w->size = 0;
        if (w->data == NULL) {
            return RIA_ERR_NOMEM;
        }
        w->position = position;
        /* Below the mark a bad sector is damage. Above it nothing is cut for one. */
        bool is_known = w->scan->segment->next_offset < w->scan->mark;
        RIA_TRY(
            is_known ? segment_pread(w->file, w->data, w->room, position, &w->size)
                     : ria_fs_pread(w->file, w->data, w->room, position, &w->size)
        );
        if (w->size < size) {
            return RIA_ERR_IO; /* it shrank under us */
        }
    }
    *out_bytes = ria_slice_of(w->data + (position - w->position), size);
    return RIA_OK;
}

/* Is there a whole, good batch at this position? The header's offset is the caller's to judge.
 * *out_batch is null if not. */
static ria_err batch_at(
    struct window *w,
    uint64_t position,
    struct batch_header *out_header,
    struct ria_slice *out_batch
)
{
    uint64_t left = w->scan->file_size - position;
    struct ria_slice bytes;

    *out_batch = RIA_SLICE_NULL;
    if (left < BATCH_HEADER_SIZE) {
        return RIA_OK;
    }
    RIA_TRY(window_get(w, position, BATCH_HEADER_SIZE, &bytes));
    if (batch_header_decode(bytes, out_header) != RIA_OK || batch_size(out_header) > left) {
        return RIA_OK;
    }
    RIA_TRY(window_get(w, position, batch_size(out_header), &bytes));
    if (batch_check_crc(bytes) == RIA_OK) {
        *out_batch = bytes;
    }
    return RIA_OK;
}

/* A disk without room for what is there already: then it stays as it is. */
static ria_err write_again(const struct window *w, uint64_t position, struct ria_slice batch)
{
    ria_err err = ria_fs_pwrite(w->file, batch.data, batch.size, position);
    return err == RIA_ERR_NO_SPACE ? RIA_OK : err;
}

static bool in_reach(const struct segment *segment, const struct batch_header *header)
{
    return batch_last_offset(header) - segment->base_offset < SEGMENT_OFFSETS_MAX;
}

/* The leader epoch is under no CRC. Epochs never fall, so one that has grown and falls again with
 * the very next batch is a flipped bit. *out_wrong: it is. The window moves. */
static ria_err
check_epoch(struct window *w, uint64_t position, const struct batch_header *header, bool *out_wrong)
{
    uint64_t behind = position + batch_size(header);
    struct batch_header next;
    struct ria_slice batch;

    *out_wrong = false;
    if (header->leader_epoch == w->scan->epoch || behind >= w->scan->file_size) {
        return RIA_OK;
    }
    RIA_TRY(batch_at(w, behind, &next, &batch));
    *out_wrong = !ria_slice_is_null(batch) &&
                 segment_header_joins(&next, batch_last_offset(header) + 1) &&
                 next.leader_epoch >= w->scan->epoch && next.leader_epoch < header->leader_epoch;
    return RIA_OK;
}

/* Add good batches until one is bad or the file ends. */
static ria_err take_good(struct window *w)
{
    struct recovery_scan *scan = w->scan;
    struct segment *segment = scan->segment;
    struct batch_header header;
    struct ria_slice batch;

    while (segment->size < scan->file_size) {
        RIA_TRY(batch_at(w, segment->size, &header, &batch));
        if (ria_slice_is_null(batch) || !segment_header_joins(&header, segment->next_offset) ||
            header.leader_epoch < scan->epoch || !in_reach(segment, &header)) {
            return RIA_OK;
        }
        bool wrong = false;
        RIA_TRY(check_epoch(w, segment->size, &header, &wrong));
        if (wrong) {
            return RIA_OK;
        }
        if (header.base_offset >= scan->rewrite_from) {
            RIA_TRY(window_get(w, segment->size, batch_size(&header), &batch));
            RIA_TRY(write_again(w, segment->size, batch));
        }
        RIA_TRY(segment_reserve(segment, 1));
        segment_note(segment, &header);
        scan->sure_epoch = scan->epoch;
        scan->epoch = header.leader_epoch;
    }
    return RIA_OK;
}

/* Two good batches, one right behind the other, whose offsets do not join: is it the first whose
 * offset is wrong? The third decides; without one it is if the second would be in front of it. The
 * window moves. */
static ria_err check_pair(
    struct window *w,
    uint64_t position,
    const struct batch_header *first,
    const struct batch_header *second,
    bool *out_wrong
)
{
    int64_t end_offset = batch_last_offset(first) + 1 + second->last_offset_delta + 1;
    uint64_t behind = position + batch_size(first) + batch_size(second);
    struct batch_header third;
    struct ria_slice batch = RIA_SLICE_NULL;

    if (behind < w->scan->file_size) {
        RIA_TRY(batch_at(w, behind, &third, &batch));
    }
    bool has_third = !ria_slice_is_null(batch);
    if (has_third && segment_header_joins(&third, batch_last_offset(second) + 1)) {
        *out_wrong = true;
    } else if (has_third && segment_header_joins(&third, end_offset)) {
        *out_wrong = false;
    } else {
        *out_wrong = second->base_offset > w->scan->segment->next_offset &&
                     second->base_offset <= first->base_offset;
    }
    return RIA_OK;
}

/* Nothing follows it, and yet it ends the log below the mark, or in the next segment. */
static bool
contradicts_end(const struct window *w, uint64_t behind, const struct batch_header *header)
{
    const struct partition_log *log = w->scan->log;
    uint32_t next = log_segment_at(log, w->scan->segment->base_offset) + 1;
    int64_t end_offset = batch_last_offset(header) + 1;

    if (behind < w->scan->file_size) {
        return false;
    }
    return next < log->segment_count ? end_offset > log->segments[next]->base_offset
                                     : end_offset < w->scan->rewrite_from;
}

/* The offset is under no CRC either. A hole has no more records than bytes, it ends at the mark at
 * the latest, and the batch behind the one that ends it goes on from there. The window moves. */
static ria_err check_offset(
    struct window *w, uint64_t position, const struct batch_header *header, bool *out_wrong
)
{
    uint64_t behind = position + batch_size(header);
    struct batch_header next;
    struct ria_slice batch = RIA_SLICE_NULL;
    bool parts = false;

    if (behind < w->scan->file_size) {
        RIA_TRY(batch_at(w, behind, &next, &batch));
    }
    if (!ria_slice_is_null(batch) && next.last_offset_delta >= 0 && next.base_offset >= 0 &&
        next.base_offset <= INT64_MAX / 2 &&
        !segment_header_joins(&next, batch_last_offset(header) + 1)) {
        RIA_TRY(check_pair(w, position, header, &next, &parts));
    }
    int64_t hidden = header->base_offset - w->scan->segment->next_offset;
    *out_wrong = header->base_offset > w->scan->mark || parts ||
                 contradicts_end(w, behind, header) ||
                 (uint64_t)hidden > position - w->scan->segment->size;
    return RIA_OK;
}

/* Behind a bad batch below the mark: go to the next good one. *out_found = false: there is none, or
 * the search became too long. */
static ria_err skip_bad(struct window *w, bool *out_found)
{
    struct recovery_scan *scan = w->scan;
    struct segment *segment = scan->segment;
    struct batch_header header;
    struct ria_slice batch;
    struct ria_slice bytes;
    uint64_t budget = SEARCH_CRC_MAX;

    *out_found = false;
    for (uint64_t p = segment->size + 1; p + BATCH_HEADER_SIZE <= scan->file_size; p++) {
        RIA_TRY(window_get(w, p, BATCH_HEADER_SIZE, &bytes));
        if (batch_header_decode(bytes, &header) != RIA_OK ||
            !segment_header_joins(&header, header.base_offset) ||
            header.base_offset <= segment->next_offset || !in_reach(segment, &header)) {
            continue;
        }
        if (batch_size(&header) > budget) {
            return RIA_OK;
        }
        budget -= batch_size(&header);
        RIA_TRY(batch_at(w, p, &header, &batch));
        bool wrong = ria_slice_is_null(batch);
        if (!wrong) {
            RIA_TRY(check_offset(w, p, &header, &wrong));
        }
        if (!wrong) {
            log_report_damage(scan->log, segment->next_offset, header.base_offset);
            RIA_TRY(offset_index_reserve(&segment->offsets, 1));
            offset_index_force(
                &segment->offsets,
                (struct offset_index_place){
                    .relative_offset = (uint32_t)(header.base_offset - segment->base_offset),
                    .position = (uint32_t)p,
                }
            );
            segment->size = p;
            segment->next_offset = header.base_offset;
            *out_found = true;
            return RIA_OK;
        }
    }
    return RIA_OK;
}

ria_err recovery_scan_run(struct recovery_scan *scan)
{
    struct window w = {.scan = scan, .room = READ_SIZE};
    bool found = true;

    RIA_ASSERT(scan->segment->offsets_loaded && scan->segment->times_loaded);

    if (scan->file_size > SEGMENT_SIZE_MAX) {
        scan->file_size = SEGMENT_SIZE_MAX;
    }
    w.data = segment_cache_scratch(scan->log->cache, READ_SIZE);
    if (w.data == NULL) {
        return RIA_ERR_NOMEM;
    }
    RIA_TRY(segment_file_get(&scan->segment->file, false, &w.file));
    while (found) {
        RIA_TRY(take_good(&w));
        found = false;
        if (scan->segment->size < scan->file_size && scan->segment->next_offset < scan->mark) {
            RIA_TRY(skip_bad(&w, &found));
        }
    }
    return RIA_OK;
}
