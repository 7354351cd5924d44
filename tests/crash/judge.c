#include "tests/crash/judge.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/assert.h"

#include "tests/crash/layout.h"

enum { READ_MAX = 256 * 1024 };

void judge_init(struct judge *judge)
{
    *judge = (struct judge){.batches = NULL};
    ria_map_init(&judge->by_crc);
}

void judge_fini(struct judge *judge)
{
    for (size_t i = 0; i < judge->count; i++) {
        free(judge->batches[i]);
    }
    free(judge->batches);
    ria_map_fini(&judge->by_crc);
}

/* ---- marks ---- */

static struct judge_batch *find(const struct judge *judge, uint32_t crc)
{
    return ria_map_get(&judge->by_crc, &crc, sizeof(crc));
}

static struct judge_batch *add(struct judge *judge, const struct journal_mark *mark)
{
    struct judge_batch *batch = calloc(1, sizeof(*batch));

    if (judge->count == judge->capacity) {
        judge->capacity = judge->capacity == 0 ? 256 : judge->capacity * 2;
        judge->batches = realloc(judge->batches, judge->capacity * sizeof(struct judge_batch *));
    }
    RIA_ASSERT(batch != NULL && judge->batches != NULL);
    batch->mark = *mark;
    judge->batches[judge->count++] = batch;
    RIA_ASSERT(
        ria_map_put(&judge->by_crc, &batch->mark.crc, sizeof(batch->mark.crc), batch) == RIA_OK
    );
    return batch;
}

static bool is_behind(const struct journal_mark *batch, const struct journal_mark *cut)
{
    return batch->partition == cut->partition && batch->base_offset >= 0 &&
           batch->base_offset + batch->record_count > cut->base_offset;
}

static void note_cut(struct judge *judge, const struct journal_mark *cut, judge_state state)
{
    for (size_t i = 0; i < judge->count; i++) {
        struct judge_batch *batch = judge->batches[i];
        if (is_behind(&batch->mark, cut) && batch->state != JUDGE_MUST_NOT) {
            batch->state = state;
        }
    }
}

void judge_note(struct judge *judge, const struct journal_mark *mark)
{
    struct judge_batch *batch = find(judge, mark->crc);

    switch ((journal_mark_kind)mark->kind) {
    case JOURNAL_SENT: /* perhaps again */
        if (batch == NULL) {
            batch = add(judge, mark);
        }
        break;
    case JOURNAL_ACKED:
        RIA_ASSERT(batch != NULL);
        batch->mark.base_offset = mark->base_offset;
        batch->state = JUDGE_MUST;
        break;
    case JOURNAL_CUTTING:
        note_cut(judge, mark, JUDGE_MAY);
        break;
    case JOURNAL_CUT:
        note_cut(judge, mark, JUDGE_MUST_NOT);
        break;
    }
}

void judge_forget(struct judge *judge, size_t count)
{
    while (judge->count > count) {
        struct judge_batch *batch = judge->batches[--judge->count];
        (void)ria_map_remove(&judge->by_crc, &batch->mark.crc, sizeof(batch->mark.crc));
        free(batch);
    }
}

size_t judge_expected(const struct judge *judge, int32_t partition)
{
    size_t count = 0;

    for (size_t i = 0; i < judge->count; i++) {
        const struct judge_batch *batch = judge->batches[i];
        count += batch->mark.partition == partition && batch->state == JUDGE_MUST;
    }
    return count;
}

/* ---- verdict ---- */

RIA_PRINTF(2, 3)
static bool bad(struct judge *judge, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(judge->why, sizeof(judge->why), fmt, args);
    va_end(args);
    return false;
}

/* What the batches that were found say of the log's tables. */
struct found {
    int64_t next_offset;
    int32_t epoch; /* of the last batch; -1 */
    uint32_t epoch_count;
    struct batch_header last_produced; /* by the partition's producer */
    uint32_t produced_count;
};

static bool judge_epoch(
    struct judge *judge,
    const struct partition_log *log,
    const struct batch_header *header,
    struct found *found
)
{
    uint32_t count = 0;
    const struct leader_epoch_entry *epochs = partition_log_epochs(log, &count);

    if (found->epoch == header->leader_epoch) {
        return true;
    }
    if (found->epoch_count >= count || epochs[found->epoch_count].epoch != header->leader_epoch ||
        epochs[found->epoch_count].start_offset != header->base_offset) {
        return bad(
            judge,
            "the epochs do not say that %" PRId32 " began at %" PRId64,
            header->leader_epoch,
            header->base_offset
        );
    }
    found->epoch = header->leader_epoch;
    found->epoch_count++;
    return true;
}

static bool judge_batch(
    struct judge *judge, int32_t partition, const struct batch_header *header, struct found *found
)
{
    struct judge_batch *batch = find(judge, header->crc);
    int64_t at = header->base_offset;

    if (at != found->next_offset) {
        return bad(judge, "offset %" PRId64 " follows %" PRId64, at, found->next_offset);
    }
    if (batch == NULL || batch->mark.partition != partition) {
        return bad(judge, "the batch at %" PRId64 " was never sent here", at);
    }
    if (batch->state == JUDGE_MUST_NOT) {
        return bad(judge, "the batch at %" PRId64 " had been cut off", at);
    }
    if (batch->mark.base_offset >= 0 && batch->mark.base_offset != at) {
        return bad(judge, "the batch of %" PRId64 " is at %" PRId64, batch->mark.base_offset, at);
    }
    if (batch->mark.leader_epoch >= 0 && batch->mark.leader_epoch != header->leader_epoch) {
        return bad(judge, "the batch at %" PRId64 " has another epoch", at);
    }
    if (batch->seen == judge->verdict) {
        return bad(judge, "the batch at %" PRId64 " is there twice", at);
    }
    batch->seen = judge->verdict;
    found->next_offset = batch_last_offset(header) + 1;
    if (header->producer_id >= 0) {
        found->last_produced = *header;
        found->produced_count++;
    }
    return true;
}

static bool judge_batches(
    struct judge *judge, int32_t partition, struct partition_log *log, struct found *found
)
{
    static uint8_t bytes[READ_MAX];
    int64_t end = partition_log_end_offset(log);
    struct partition_log_range range;
    struct batch_header header;

    while (found->next_offset < end) {
        ria_err err = partition_log_locate(log, found->next_offset, end, READ_MAX, &range);
        if (err == RIA_OK && (range.size == 0 || range.size > READ_MAX)) {
            return bad(judge, "nothing to read at %" PRId64, found->next_offset);
        }
        if (err == RIA_OK) {
            err = partition_log_read(log, &range, bytes);
        }
        if (err != RIA_OK) {
            return bad(judge, "%s at %" PRId64, ria_err_text(err), found->next_offset);
        }
        struct ria_slice left = ria_slice_of(bytes, range.size);
        while (left.size > 0) {
            RIA_ASSERT(batch_header_decode(left, &header) == RIA_OK);
            RIA_ASSERT(batch_size(&header) <= left.size);
            if (!judge_batch(judge, partition, &header, found) ||
                !judge_epoch(judge, log, &header, found)) {
                return false;
            }
            left = ria_slice_of(left.data + batch_size(&header), left.size - batch_size(&header));
        }
    }
    return true;
}

static bool judge_producer(
    struct judge *judge,
    int32_t partition,
    const struct partition_log *log,
    const struct found *found
)
{
    const struct producer_state *state = partition_log_producer(log, 100 + partition);

    if ((state != NULL) != (found->produced_count > 0)) {
        return bad(judge, "the producer is %sknown", state != NULL ? "" : "not ");
    }
    if (state == NULL) {
        return true;
    }
    uint32_t count =
        found->produced_count < PRODUCER_WINDOW ? found->produced_count : (uint32_t)PRODUCER_WINDOW;
    const struct producer_batch *last = &state->batches[state->batch_count - 1];
    if (state->batch_count != count || last->first_sequence != found->last_produced.base_sequence ||
        last->base_offset != found->last_produced.base_offset) {
        return bad(
            judge,
            "the producer has %" PRIu32 " batches, the last at %" PRId64 ", not %" PRIu32
            " and %" PRId64,
            state->batch_count,
            last->base_offset,
            count,
            found->last_produced.base_offset
        );
    }
    return true;
}

bool judge_log(struct judge *judge, int32_t partition, struct partition_log *log)
{
    struct found found = {.next_offset = partition_log_start_offset(log), .epoch = -1};
    uint32_t epoch_count = 0;

    judge->verdict++;
    judge->why[0] = '\0';
    if (partition_log_is_damaged(log) || partition_log_has_failed(log)) {
        return bad(judge, "the log calls itself damaged or failed");
    }
    if (!judge_batches(judge, partition, log, &found)) {
        return false;
    }
    for (size_t i = 0; i < judge->count; i++) {
        const struct judge_batch *batch = judge->batches[i];
        if (batch->mark.partition == partition && batch->state == JUDGE_MUST &&
            batch->seen != judge->verdict) {
            return bad(
                judge,
                "lost: %" PRId32 " records at %" PRId64 " (the log is %" PRId64 " to %" PRId64 ")",
                batch->mark.record_count,
                batch->mark.base_offset,
                partition_log_start_offset(log),
                partition_log_end_offset(log)
            );
        }
    }
    (void)partition_log_epochs(log, &epoch_count);
    if (epoch_count != found.epoch_count) {
        return bad(judge, "%" PRIu32 " epochs, not %" PRIu32, epoch_count, found.epoch_count);
    }
    return judge_producer(judge, partition, log, &found);
}
