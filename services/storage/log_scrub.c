#include "services/storage/log_scrub.h"

#include <stdlib.h>

#include "common/assert.h"

#include "services/storage/log_state.h"

static ria_err verify_indexes(struct partition_log *log, struct segment *segment)
{
    bool bad = false;

    if (!segment->index_saved) {
        return RIA_OK;
    }
    ria_err err = segment_verify_indexes(segment, &bad);
    if (bad) {
        ria_log_warn(
            log->env->log,
            "storage.index_repaired",
            "log=%s segment=%lld",
            log->name,
            (long long)segment->base_offset
        );
    }
    return err == RIA_ERR_CORRUPT ? RIA_OK : err; /* headers are the batches' matter */
}

/* Behind a hole that offset lies in, and behind what no segment has. */
static struct segment *segment_from(struct partition_log *log, int64_t *offset)
{
    const struct log_damage *hole = log_damage_from(log, *offset);

    if (hole != NULL && hole->from_offset <= *offset) {
        *offset = hole->to_offset;
    }
    for (uint32_t i = log_segment_at(log, *offset); i < log->segment_count; i++) {
        struct segment *segment = log->segments[i];
        if (segment->next_offset > *offset) {
            *offset = ria_max_i64(*offset, segment->base_offset);
            return segment;
        }
    }
    return NULL;
}

ria_err log_scrub_find(
    struct partition_log *log,
    int64_t offset,
    struct log_scrub *out_place,
    char out_path[LOG_PATH_MAX],
    bool *out_more
)
{
    struct segment_place place;

    *out_more = false;
    for (;;) {
        struct segment *segment = segment_from(log, &offset);
        if (segment == NULL) {
            return RIA_OK;
        }
        if (offset == segment->base_offset) {
            RIA_TRY(verify_indexes(log, segment));
        }
        ria_err err = segment_seek(segment, offset, NULL, &place);
        if (err == RIA_ERR_CORRUPT) {
            log_report_bad_place(log, segment, place);
            const struct log_damage *hole = log_damage_from(log, ria_max_i64(offset, place.offset));
            offset = ria_max_i64(offset + 1, hole == NULL ? 0 : hole->to_offset);
            continue;
        }
        if (err != RIA_OK || place.position >= segment->synced_size) {
            return err; /* what is behind is not on disk yet */
        }
        *out_place = (struct log_scrub){
            .segment_base_offset = segment->base_offset,
            .offset = place.offset,
            .position = place.position,
            .end = segment->synced_size,
        };
        log_path_of(out_path, log->dir, segment->base_offset, LOG_PATH_LOG);
        *out_more = true;
        return RIA_OK;
    }
}

/* The ordinary way to read one batch. *out_next: where to go on. */
static ria_err look_again(struct partition_log *log, int64_t offset, int64_t *out_next)
{
    struct partition_log_range range;

    *out_next = INT64_MAX;
    ria_err err = partition_log_locate(log, offset, INT64_MAX, 1, &range);
    if (err == RIA_OK && range.size > 0) {
        uint8_t *bytes = malloc(range.size);
        if (bytes == NULL) {
            return RIA_ERR_NOMEM;
        }
        *out_next = range.next_offset;
        err = partition_log_read(log, &range, bytes);
        free(bytes);
    }
    if (err == RIA_ERR_CORRUPT) { /* reported */
        const struct log_damage *hole = log_damage_from(log, offset);
        *out_next = hole == NULL ? INT64_MAX : ria_max_i64(hole->to_offset, offset + 1);
        return RIA_OK;
    }
    return err == RIA_ERR_OFFSET_OUT_OF_RANGE ? RIA_OK : err; /* cut off meanwhile */
}

ria_err log_scrub_check(
    struct partition_log *log,
    struct log_scrub *place,
    struct ria_slice bytes,
    size_t *out_wanted,
    bool *out_moved
)
{
    struct batch_header header;
    size_t used = 0;

    *out_wanted = 0;
    *out_moved = true;
    while (used < bytes.size) {
        struct ria_slice rest = ria_slice_sub(bytes, used, bytes.size);
        if (log_check_batch(log, rest, place->offset, &header) != RIA_OK) {
            break;
        }
        used += batch_size(&header);
        place->offset = batch_last_offset(&header) + 1;
        place->position += batch_size(&header);
    }
    if (used > 0) {
        return RIA_OK; /* the rest comes again, at the front */
    }
    if (batch_header_decode(bytes, &header) == RIA_OK && batch_size(&header) > bytes.size &&
        batch_size(&header) <= place->end - place->position) {
        *out_wanted = batch_size(&header);
        return RIA_OK;
    }
    *out_moved = false;
    return look_again(log, place->offset, &place->offset);
}
