/* Rules of stream groups, and what they have in common with queues: what a group is to get, where
 * it stands. docs/design/010-consuming.md, "Rules the simulator checks". */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

#include "tests/sim/checker_internal.h"

enum { GROUP_OFFSET_MAX = 50 * 1000 * 1000 };

struct consumed *checker_consumed(struct checker *checker, uint32_t group, uint32_t partition)
{
    return &checker->consumed[(size_t)group * checker->history->partition_count + partition];
}

struct consumed_record *checker_consumed_record(struct consumed *consumed, int64_t offset)
{
    if (offset >= consumed->record_count) {
        int64_t count = ria_max_i64(1024, 2 * offset);
        size_t added = (size_t)(count - consumed->record_count) * sizeof(*consumed->records);
        consumed->records = realloc(consumed->records, (size_t)count * sizeof(*consumed->records));
        RIA_ASSERT(consumed->records != NULL);
        memset(&consumed->records[consumed->record_count], 0, added);
        consumed->record_count = count;
    }
    return &consumed->records[offset];
}

void checker_violate_group(
    struct checker *checker, const char *rule, const struct history_event *event, const char *text
)
{
    checker_violate(
        checker,
        rule,
        event->partition,
        event->offset,
        HISTORY_NO_VALUE,
        "group %" PRIu32 ", offset %" PRId64 ": %s",
        event->group,
        event->offset,
        text
    );
}

/* ---- what consumers of stream groups say ---- */

/* One bit for a consumer. Of more than 64 some share one, and some violations are not seen. */
static uint64_t bit_of(const struct history_event *event)
{
    return UINT64_C(1) << event->actor % 64;
}

/* Somebody asked the group to go on within (from, to]. */
static bool was_reset_within(struct consumed *consumed, int64_t from, int64_t to)
{
    for (int64_t offset = to; offset > from; offset--) {
        if (checker_consumed_record(consumed, offset)->is_reset_to) {
            return true;
        }
    }
    return false;
}

static void
on_delivered(struct checker *checker, struct consumed *consumed, const struct history_event *event)
{
    int64_t end = event->offset + event->count;

    if (event->offset > consumed->next &&
        !was_reset_within(consumed, consumed->next, event->offset)) {
        checker_violate_group(
            checker, "group-order", event, "it came before records in front of it ever did"
        );
    }
    for (int64_t offset = event->offset; offset < end; offset++) {
        checker_consumed_record(consumed, offset)->delivered |= bit_of(event);
    }
    consumed->next = ria_max_i64(consumed->next, end);
    consumed->lease_max = ria_max_i64(consumed->lease_max, event->lease);
    checker->result->records_consumed += (uint64_t)event->count;
}

static void on_commit(struct consumed *consumed, const struct history_event *event)
{
    struct consumed_record *record = checker_consumed_record(consumed, event->offset);

    record->asked |= bit_of(event);
    record->is_asked_in_time = record->is_asked_in_time || event->lease >= consumed->lease_max;
}

static void
on_committed(struct checker *checker, struct consumed *consumed, const struct history_event *event)
{
    const struct consumed_record *record = checker_consumed_record(consumed, event->offset);

    if (!record->is_asked_in_time && !consumed->was_reset) {
        checker_violate_group(
            checker,
            "stale-commit",
            event,
            "a commit counts that was sent when others had the records"
        );
    }
    consumed->committed = ria_max_i64(consumed->committed, event->offset);
}

static void on_reset(struct consumed *consumed, const struct history_event *event)
{
    checker_consumed_record(consumed, event->offset)->is_reset_to = true;
    consumed->was_reset = true;
}

/* ---- where a group stands ---- */

/* Between two looks a group may have been reset to where it has gone on from since. False: it was
 * not. */
static bool find_reset(struct consumed *consumed, int64_t position, int64_t *out_from)
{
    for (int64_t offset = position; offset >= 0; offset--) {
        if (checker_consumed_record(consumed, offset)->is_reset_to) {
            *out_from = offset;
            return true;
        }
    }
    return false;
}

/* Everything in [from, position) came to somebody who then committed past it. What a reset jumped
 * over is not owed. */
static void check_stream_advance(
    struct checker *checker, struct consumed *consumed, int64_t from, struct history_event event
)
{
    uint64_t committers = 0;

    for (int64_t offset = event.offset; offset > from; offset--) {
        const struct consumed_record *at = checker_consumed_record(consumed, offset);
        struct consumed_record *record = checker_consumed_record(consumed, offset - 1);
        committers |= at->asked;
        if (at->is_reset_to) {
            for (int64_t i = from; i < offset; i++) {
                checker_consumed_record(consumed, i)->is_excused = true;
            }
            return;
        }
        if ((record->delivered & committers) == 0) {
            event.offset = offset - 1;
            checker_violate_group(
                checker,
                "commit-undelivered",
                &event,
                "the position has passed it, but nobody who had it has committed it"
            );
            return;
        }
    }
}

/* ... was acknowledged, or buried, or may have been. */
static void check_queue_advance(
    struct checker *checker, struct consumed *consumed, int64_t from, struct history_event event
)
{
    int64_t end = event.offset;

    for (event.offset = from; event.offset < end; event.offset++) {
        if (!checker_may_be_done(checker_consumed_record(consumed, event.offset))) {
            checker_violate_group(
                checker, "queue-lost", &event, "it is finished, but nobody has acknowledged it"
            );
            return;
        }
    }
}

static void
on_position(struct checker *checker, struct consumed *consumed, const struct history_event *event)
{
    int64_t from = consumed->position;

    if (event->offset < from && !find_reset(consumed, event->offset, &from)) {
        checker_violate(
            checker,
            "position-back",
            event->partition,
            event->offset,
            HISTORY_NO_VALUE,
            "the position of group %" PRIu32 " was %" PRId64 " and is %" PRId64,
            event->group,
            from,
            event->offset
        );
        from = event->offset;
    }
    if (consumed->is_queue && !consumed->has_dead) { /* else at the end */
        check_queue_advance(checker, consumed, from, *event);
    } else if (!consumed->is_queue) {
        check_stream_advance(checker, consumed, from, *event);
    }
    consumed->position = event->offset;
    consumed->has_position = true;
}

/* ---- all of them ---- */

static bool is_sane(struct checker *checker, const struct history_event *event)
{
    const struct consumed *consumed = checker_consumed(checker, event->group, event->partition);
    bool is_of_queue = event->kind >= HISTORY_LOCKED && event->kind <= HISTORY_REDRIVE;
    bool is_of_both = event->kind == HISTORY_POSITION || event->kind == HISTORY_RESET;
    const char *flaw = NULL;

    if (event->offset < 0 || event->count < 0 || event->offset + event->count >= GROUP_OFFSET_MAX) {
        flaw = "so much was never written";
    } else if (event->kind != HISTORY_CONSUMES && !consumed->is_declared) {
        flaw = "nobody said that the group consumes this partition";
    } else if (event->kind != HISTORY_CONSUMES && !is_of_both && is_of_queue != consumed->is_queue) {
        flaw = "groups and queues are not the same";
    }
    if (flaw != NULL) {
        checker_violate_group(checker, "bad-history", event, flaw);
    }
    return flaw == NULL;
}

void checker_on_group(struct checker *checker, const struct history_event *event)
{
    struct consumed *consumed = checker_consumed(checker, event->group, event->partition);

    if (!is_sane(checker, event)) {
        return;
    }
    if (event->kind == HISTORY_CONSUMES) {
        consumed->is_declared = true;
        consumed->is_queue = event->is_queue;
        consumed->is_ordered = event->is_ordered;
        consumed->has_dead = event->has_dead;
        consumed->start = event->offset;
        consumed->position = event->offset;
        consumed->next = event->offset;
    } else if (event->kind == HISTORY_POSITION) {
        on_position(checker, consumed, event);
    } else if (event->kind == HISTORY_DELIVERED) {
        on_delivered(checker, consumed, event);
    } else if (event->kind == HISTORY_COMMIT) {
        on_commit(consumed, event);
    } else if (event->kind == HISTORY_COMMITTED) {
        on_committed(checker, consumed, event);
    } else if (event->kind == HISTORY_RESET) {
        on_reset(consumed, event);
    } else if (event->kind == HISTORY_DEAD) {
        checker_on_dead(checker, consumed, event);
    } else if (event->kind == HISTORY_REDRIVE) {
        checker->partitions[event->partition].is_redriven = true;
    } else if (consumed->is_queue) {
        checker_on_queue(checker, consumed, event);
    }
}

/* ---- at the end ---- */

static void
finish_stream(struct checker *checker, struct consumed *consumed, struct history_event event)
{
    int64_t end = checker->partitions[event.partition].leader_end;

    if (consumed->has_position && consumed->committed > consumed->position &&
        !consumed->was_reset) {
        event.offset = consumed->committed;
        checker_violate_group(
            checker, "commit-lost", &event, "it was committed, in the end the position is below it"
        );
    }
    for (event.offset = consumed->start; event.offset < end; event.offset++) {
        const struct consumed_record *record = checker_consumed_record(consumed, event.offset);
        if (record->delivered == 0 && !record->is_excused) {
            checker_violate_group(checker, "group-missed", &event, "it never came to the group");
            return;
        }
    }
}

/* What was put back was dead. */
static void check_copies(struct checker *checker, uint32_t producer)
{
    for (uint32_t i = 0; i < checker->producers[producer].value_count; i++) {
        const struct value_state *value = &checker->producers[producer].values[i];
        if (value->has_copy && !value->is_dead) {
            checker_violate(
                checker,
                "stored-twice",
                checker->producers[producer].partition,
                HISTORY_NO_OFFSET,
                history_value(producer, i),
                "it stands there twice and was never dead"
            );
        }
    }
}

static void
finish_queue(struct checker *checker, struct consumed *consumed, struct history_event event)
{
    int64_t end = checker->partitions[event.partition].leader_end;

    for (event.offset = consumed->start; event.offset < end; event.offset++) {
        const struct consumed_record *record = checker_consumed_record(consumed, event.offset);
        if (record->must_be_dead && !record->is_dead) {
            checker_violate_group(
                checker,
                "key-order",
                &event,
                "it was out, and is no dead letter, when a later record of its key came"
            );
            return;
        }
        if (record->is_dead || checker_may_be_done(record)) {
            continue;
        }
        if (event.offset < consumed->position) {
            checker_violate_group(
                checker,
                "queue-lost",
                &event,
                "it is finished, but neither acknowledged nor in the dead-letter topic"
            );
        } else {
            checker_violate_group(
                checker,
                "queue-missed",
                &event,
                "in the end it is neither acknowledged nor in the dead-letter topic"
            );
        }
        return;
    }
}

void checker_finish_groups(struct checker *checker)
{
    for (uint32_t i = 0; i < checker->history->producer_count; i++) {
        check_copies(checker, i);
    }
    for (uint32_t g = 0; g < checker->history->group_count; g++) {
        for (uint32_t p = 0; p < checker->history->partition_count; p++) {
            struct consumed *consumed = checker_consumed(checker, g, p);
            struct history_event event = {.group = g, .partition = p};
            if (!consumed->is_declared || checker->partitions[p].is_dropped) {
                continue;
            }
            if (consumed->is_queue) {
                finish_queue(checker, consumed, event);
            } else {
                finish_stream(checker, consumed, event);
            }
        }
    }
}
