/* What readers and leaders name as the high watermark: neither within an epoch nor from one epoch
 * to the next does it go back. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

#include "tests/sim/checker_internal.h"

static bool is_told(const struct history_event *event)
{
    return event->watermark != HISTORY_NO_WATERMARK && event->epoch != HISTORY_NO_EPOCH;
}

void checker_on_watermark(
    struct checker *checker, struct seen_watermark *seen, const struct history_event *event
)
{
    if (is_told(event)) {
        if (seen->any && seen->epoch == event->epoch && event->watermark < seen->told) {
            checker_violate(
                checker,
                "watermark-back",
                event->partition,
                event->watermark,
                HISTORY_NO_VALUE,
                "under epoch %" PRId32 " the high watermark went from %" PRId64 " back to %" PRId64,
                event->epoch,
                seen->told,
                event->watermark
            );
        }
        seen->any = true;
        seen->epoch = event->epoch;
        seen->told = event->watermark;
    }
    seen->watermark = event->watermark;
}

/* Nearly always the newest. */
static struct told_watermarks *told_under(struct partition_state *partition, int32_t epoch)
{
    uint32_t at = partition->told_count;

    while (at > 0 && partition->told[at - 1].epoch > epoch) {
        at--;
    }
    if (at > 0 && partition->told[at - 1].epoch == epoch) {
        return &partition->told[at - 1];
    }
    partition->told =
        realloc(partition->told, (partition->told_count + 1) * sizeof(*partition->told));
    RIA_ASSERT(partition->told != NULL);
    memmove(
        &partition->told[at + 1],
        &partition->told[at],
        (partition->told_count - at) * sizeof(*partition->told)
    );
    partition->told_count++;
    partition->told[at] = (struct told_watermarks){.epoch = epoch, .least = INT64_MAX, .most = -1};
    return &partition->told[at];
}

void checker_note_told(struct checker *checker, const struct history_event *event)
{
    if (!is_told(event)) {
        return;
    }
    struct told_watermarks *told = told_under(&checker->partitions[event->partition], event->epoch);
    told->least = ria_min_i64(told->least, event->watermark);
    told->most = ria_max_i64(told->most, event->watermark);
}

void checker_finish_told(struct checker *checker, uint32_t partition)
{
    const struct partition_state *state = &checker->partitions[partition];
    const struct told_watermarks *highest = NULL;

    for (uint32_t i = 0; i < state->told_count; i++) {
        const struct told_watermarks *told = &state->told[i];
        if (highest != NULL && told->least < highest->most) {
            checker_violate(
                checker,
                "watermark-epochs",
                partition,
                told->least,
                HISTORY_NO_VALUE,
                "a reader was told %" PRId64 " under epoch %" PRId32 ", one was told %" PRId64
                " under epoch %" PRId32,
                highest->most,
                highest->epoch,
                told->least,
                told->epoch
            );
        }
        if (highest == NULL || told->most > highest->most) {
            highest = told;
        }
    }
}
