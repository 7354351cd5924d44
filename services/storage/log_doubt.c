#include "services/storage/log_doubt.h"

#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

#include "services/storage/log_state.h"

enum { EPOCH_AT = 12, EPOCH_SIZE = 4 }; /* docs/formats/record-batch.md */

bool log_doubt_find(
    const struct partition_log *log,
    const struct leader_epoch_entry *epochs,
    uint32_t count,
    int64_t end_offset,
    struct log_doubt *out_doubt
)
{
    int64_t end = ria_min_i64(end_offset, partition_log_end_offset(log));
    int64_t from = partition_log_divergence(log, epochs, count, end);

    *out_doubt = (struct log_doubt){.generation = log->generation};
    leader_epochs_init(&out_doubt->found);
    if (from >= end) {
        return false;
    }
    out_doubt->from_offset = from;
    out_doubt->next_offset = from;
    out_doubt->to_offset = leader_epochs_agreement(&log->epochs, from, end, epochs, count);
    return true;
}

void log_doubt_fini(struct log_doubt *doubt)
{
    leader_epochs_fini(&doubt->found);
}

/* This log's bytes where the peer's batch is; *out_own is false if no batch begins there, or it
 * cannot be read. */
static ria_err read_own(
    struct partition_log *log,
    const struct batch_header *header,
    uint8_t *out_bytes,
    struct segment_place *out_place,
    bool *out_own
)
{
    struct segment *segment = log->segments[log_segment_at(log, header->base_offset)];
    struct segment_place place = {.offset = -1};

    *out_own = false;
    if (header->base_offset < segment->base_offset || header->base_offset >= segment->next_offset) {
        return RIA_OK;
    }
    ria_err err = segment_seek(segment, header->base_offset, NULL, &place);
    if (err == RIA_ERR_CORRUPT) {
        return RIA_OK;
    }
    RIA_TRY(err);
    *out_place = place;
    if (place.offset == header->base_offset &&
        segment->size - place.position >= BATCH_HEADER_SIZE) {
        size_t size = ria_min_size(batch_size(header), (size_t)(segment->size - place.position));
        memset(out_bytes, 0, batch_size(header));
        *out_own = true;
        return segment_read(segment, place.position, size, out_bytes);
    }
    /* Inside a batch that begins before: if that one is good, the logs differ. */
    *out_own = true;
    memset(out_bytes, 0, batch_size(header));
    return RIA_OK;
}

/* Is the batch that this log has at the place a good one, whatever its epoch? */
static ria_err
is_good(struct partition_log *log, int64_t offset, struct segment_place place, bool *out_good)
{
    struct segment *segment = log->segments[log_segment_at(log, offset)];
    uint8_t bytes[BATCH_HEADER_SIZE];
    struct batch_header header;

    *out_good = false;
    RIA_TRY(segment_read(segment, place.position, BATCH_HEADER_SIZE, bytes));
    if (batch_header_decode(ria_slice_of(bytes, sizeof(bytes)), &header) != RIA_OK ||
        !segment_header_joins(&header, place.offset) ||
        batch_size(&header) > segment->size - place.position) {
        return RIA_OK;
    }
    uint8_t *whole = malloc(batch_size(&header));
    if (whole == NULL) {
        return RIA_ERR_NOMEM;
    }
    ria_err err = segment_read(segment, place.position, batch_size(&header), whole);
    *out_good =
        err == RIA_OK && batch_check_crc(ria_slice_of(whole, batch_size(&header))) == RIA_OK;
    free(whole);
    return err;
}

static bool is_same_but_for_the_epoch(const uint8_t *one, const uint8_t *other, size_t size)
{
    return memcmp(one, other, EPOCH_AT) == 0 && memcmp(
                                                    one + EPOCH_AT + EPOCH_SIZE,
                                                    other + EPOCH_AT + EPOCH_SIZE,
                                                    size - EPOCH_AT - EPOCH_SIZE
                                                ) == 0;
}

static ria_err
compare_one(struct partition_log *log, const struct batch_header *header, const uint8_t *batch)
{
    size_t size = batch_size(header);
    struct segment_place place = {.offset = -1};
    bool own = false;
    bool good = false;
    uint8_t *bytes = malloc(size);

    if (bytes == NULL) {
        return RIA_ERR_NOMEM;
    }
    ria_err err = read_own(log, header, bytes, &place, &own);
    if (err == RIA_OK && own && !is_same_but_for_the_epoch(bytes, batch, size)) {
        err = is_good(log, header->base_offset, place, &good);
        err = err == RIA_OK && good ? RIA_ERR_CONFLICT : err;
    }
    free(bytes);
    return err;
}

ria_err
log_doubt_compare(struct partition_log *log, struct log_doubt *doubt, struct ria_slice batches)
{
    struct batch_header header;

    if (log->generation != doubt->generation) {
        return RIA_ERR_CONFLICT;
    }
    while (batches.size > 0 && doubt->next_offset < doubt->to_offset) {
        if (batch_header_decode(batches, &header) != RIA_OK || batch_size(&header) > batches.size ||
            !segment_header_joins(&header, doubt->next_offset)) {
            return RIA_ERR_MALFORMED;
        }
        RIA_TRY(batch_check_crc(ria_slice_sub(batches, 0, batch_size(&header))));
        RIA_TRY(compare_one(log, &header, batches.data));
        RIA_TRY(leader_epochs_reserve(&doubt->found, 1));
        (void)leader_epochs_note(&doubt->found, header.leader_epoch, header.base_offset);
        doubt->next_offset = batch_last_offset(&header) + 1;
        batches = ria_slice_sub(batches, batch_size(&header), batches.size);
    }
    return RIA_OK;
}

ria_err log_doubt_settle(struct partition_log *log, struct log_doubt *doubt)
{
    int64_t end_offset = partition_log_end_offset(log);

    RIA_ASSERT(doubt->next_offset >= doubt->to_offset);

    if (log->generation != doubt->generation || log->failed) {
        return RIA_ERR_CONFLICT;
    }
    /* Both logs have the same batches, so the last one ends where it ends here. */
    int64_t to_offset = ria_min_i64(doubt->next_offset, end_offset);
    RIA_TRY(log_merge_epochs(log, &doubt->found, doubt->from_offset, to_offset));
    log->epochs_unsure = to_offset < end_offset ? log->epochs_unsure : 0;
    log_report_damage(log, doubt->from_offset, to_offset);
    return log_fail_on_io(log, log_save_epochs(log));
}
