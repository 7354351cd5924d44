/* Rules of queues: who has a record, and what became of it.
 *
 * A consumer has a record from when it came until the time of its lock is over, counted from when
 * it asked for it, or until it says something of it that ends the lock. The coordinator's clock
 * never runs faster, so its deadline is not earlier: within this time the record is nobody else's,
 * and a word about it counts. What comes when its time is over already proves nothing. */
#include <inttypes.h>
#include <stdlib.h>

#include "common/assert.h"

#include "tests/sim/checker_internal.h"

bool checker_may_be_done(const struct consumed_record *record)
{
    return record->is_done || record->asked_lease != 0;
}

static bool ends_the_record(history_action action)
{
    return action == HISTORY_ACTION_ACK || action == HISTORY_ACTION_BURY;
}

static bool frees_the_record(history_action action)
{
    return action == HISTORY_ACTION_NACK || action == HISTORY_ACTION_GIVE_BACK;
}

/* ---- order per key ---- */

static struct consumed_key *find_key(struct consumed *consumed, int64_t key)
{
    for (uint32_t i = 0; i < consumed->key_count; i++) {
        if (consumed->keys[i].key == key) {
            return &consumed->keys[i];
        }
    }
    size_t size = ((size_t)consumed->key_count + 1) * sizeof(*consumed->keys);
    consumed->keys = realloc(consumed->keys, size);
    RIA_ASSERT(consumed->keys != NULL);
    struct consumed_key *added = &consumed->keys[consumed->key_count++];
    *added = (struct consumed_key){.key = key, .top = -1};
    return added;
}

static void
check_key(struct checker *checker, struct consumed *consumed, const struct history_event *event)
{
    struct consumed_key *key = find_key(consumed, event->key);

    if (event->offset < key->top) {
        checker_violate_group(
            checker, "key-order", event, "it came again after a later record of its key"
        );
    } else if (event->offset > key->top) {
        struct consumed_record *top =
            key->top < 0 ? NULL : checker_consumed_record(consumed, key->top);
        if (top != NULL && !checker_may_be_done(top) && consumed->has_dead) {
            top->must_be_dead = true; /* that it is one is known at the end */
        } else if (top != NULL && !checker_may_be_done(top)) {
            checker_violate_group(
                checker, "key-order", event, "it came while one before it, of its key, was out"
            );
        }
        key->top = event->offset;
    }
}

/* ---- who has it ---- */

/* Until when words under a lease count, by the coordinator's clock. */
static int64_t deadline_of(const struct consumed_record *record, int64_t lease)
{
    if (lease == record->lease) {
        return record->open_extends == 0 ? record->deadline_ms : HISTORY_NO_CLOCK;
    }
    return lease == record->lease_before ? record->deadline_before_ms : HISTORY_NO_CLOCK;
}

/* Also after a reset: it is the record's own time. */
static void check_due(struct checker *checker, const struct history_event *event)
{
    const struct value_state *value = checker_find_value(checker, event->value);

    if (value != NULL && event->time_us < value->due_us) {
        checker_violate(
            checker,
            "before-its-time",
            event->partition,
            event->offset,
            event->value,
            "group %" PRIu32 ", offset %" PRId64 ": consumer %" PRIu32
            " got it, which was to be delivered at %.6f or later",
            event->group,
            event->offset,
            event->actor,
            (double)value->due_us / 1e6
        );
    }
}

static void
on_locked(struct checker *checker, struct consumed *consumed, const struct history_event *event)
{
    struct consumed_record *record = checker_consumed_record(consumed, event->offset);
    /* After a reset, which may come at any time since it was asked for, what was held, done or
     * delayed is not. */
    bool is_held = event->until_us > event->time_us && !consumed->was_reset;

    checker->result->records_consumed++;
    if (is_held && record->is_done) {
        checker_violate_group(
            checker, "delivered-after-ack", event, "it came although it had been acknowledged"
        );
    }
    if (is_held && record->lease != event->lease && record->until_us > event->time_us) {
        checker_violate(
            checker,
            "held-by-two",
            event->partition,
            event->offset,
            event->value,
            "group %" PRIu32 ", offset %" PRId64 ": consumer %" PRIu32
            " has it until %.6f, and now consumer %" PRIu32 " has it too",
            event->group,
            event->offset,
            record->holder,
            (double)record->until_us / 1e6,
            event->actor
        );
    }
    if (is_held && event->time_us < record->not_before_us) {
        checker_violate_group(checker, "too-early", event, "it came before its delay was over");
    }
    check_due(checker, event);
    if (is_held && consumed->is_ordered && event->key != HISTORY_NO_KEY) {
        check_key(checker, consumed, event);
    }
    if (event->lease > record->lease) {
        record->deadline_before_ms = deadline_of(record, record->lease);
        record->lease_before = record->lease;
        record->lease = event->lease;
        record->holder = event->actor;
        record->until_us = event->until_us;
        record->deadline_ms = event->clock_ms;
        record->open_extends = 0;
        /* What was said of it before and not answered has not been done. */
        record->asked_lease = is_held ? 0 : record->asked_lease;
    }
}

static void on_say(struct consumed *consumed, const struct history_event *event)
{
    struct consumed_record *record = checker_consumed_record(consumed, event->offset);

    if (ends_the_record(event->action) && event->lease >= record->lease) {
        record->asked_lease = event->lease;
    }
    record->was_rejected = record->was_rejected || event->action == HISTORY_ACTION_REJECT;
    if (event->lease < record->lease) {
        record->late_lease = event->lease;
    }
    if (event->lease != record->lease) {
        return;
    }
    if (event->action == HISTORY_ACTION_EXTEND) {
        record->open_extends++;
    } else {
        record->said_before_us = record->until_us;
        record->until_us = 0;
    }
}

/* ---- what became of it ---- */

static void
on_refused(struct checker *checker, struct consumed *consumed, const struct history_event *event)
{
    struct consumed_record *record = checker_consumed_record(consumed, event->offset);
    bool is_extend = event->action == HISTORY_ACTION_EXTEND;
    int64_t until_us = is_extend ? record->until_us : record->said_before_us;

    if (event->lease == record->asked_lease && ends_the_record(event->action)) {
        record->asked_lease = 0;
    }
    if (event->lease == record->lease && event->action != HISTORY_ACTION_BURY &&
        event->time_us < until_us && !consumed->was_reset) {
        checker_violate_group(
            checker, "lock-broken", event, "a word about it was refused while it was the consumer's"
        );
    }
}

/* Of a record that was freed the next lease may be known before the answer is. */
static void check_in_time(
    struct checker *checker, const struct consumed_record *record, const struct history_event *event
)
{
    int64_t deadline_ms = deadline_of(record, event->lease);
    bool may_be_overtaken = frees_the_record(event->action) && event->lease != record->late_lease;
    bool is_known = event->clock_ms != HISTORY_NO_CLOCK && deadline_ms != HISTORY_NO_CLOCK;

    if (event->lease < record->lease && !may_be_overtaken) {
        checker_violate_group(
            checker, "stale-ack", event, "a word about it counts although others had it since"
        );
    } else if (is_known && event->clock_ms >= deadline_ms) {
        checker_violate(
            checker,
            "late-ack",
            event->partition,
            event->offset,
            HISTORY_NO_VALUE,
            "group %" PRIu32 ", offset %" PRId64 ": a word about it counts at %" PRId64
            " of the coordinator's clock, its lock ended at %" PRId64,
            event->group,
            event->offset,
            event->clock_ms,
            deadline_ms
        );
    }
}

static void
on_done(struct checker *checker, struct consumed *consumed, const struct history_event *event)
{
    struct consumed_record *record = checker_consumed_record(consumed, event->offset);

    if (event->action == HISTORY_ACTION_EXTEND) {
        if (event->lease == record->lease) {
            record->open_extends -= record->open_extends > 0;
            record->until_us = ria_max_i64(record->until_us, event->until_us);
            record->deadline_ms = ria_max_i64(record->deadline_ms, event->clock_ms);
        }
        return;
    }
    if (event->action != HISTORY_ACTION_BURY) {
        check_in_time(checker, record, event);
    }
    if (event->action == HISTORY_ACTION_NACK) {
        record->not_before_us = ria_max_i64(record->not_before_us, event->until_us);
    }
    if (ends_the_record(event->action)) {
        if (record->is_done && !consumed->was_reset) {
            checker_violate_group(checker, "acked-twice", event, "it was acknowledged before");
        }
        record->is_done = true;
    }
}

void checker_on_queue(
    struct checker *checker, struct consumed *consumed, const struct history_event *event
)
{
    if (event->kind == HISTORY_LOCKED) {
        on_locked(checker, consumed, event);
    } else if (event->kind == HISTORY_SAY) {
        on_say(consumed, event);
    } else if (event->is_done) {
        on_done(checker, consumed, event);
    } else {
        on_refused(checker, consumed, event);
    }
}

/* ---- dead letters ---- */

void checker_on_dead(
    struct checker *checker, struct consumed *consumed, const struct history_event *event
)
{
    const struct partition_state *partition = &checker->partitions[event->partition];
    struct consumed_record *record = checker_consumed_record(consumed, event->offset);
    struct value_state *value = checker_find_value(checker, event->value);

    if (event->offset >= partition->committed_count || value == NULL ||
        partition->committed[event->offset] != event->value) {
        checker_violate_group(
            checker, "dead-invented", event, "the dead-letter topic has something else of it"
        );
        return;
    }
    if (record->is_done && !consumed->was_reset) {
        checker_violate_group(
            checker, "dead-and-acked", event, "it was acknowledged and is a dead letter, too"
        );
    }
    if (event->action == HISTORY_ACTION_REJECT && !record->was_rejected) {
        checker_violate_group(
            checker, "dead-invented", event, "it is there as rejected, which nobody did"
        );
    }
    record->is_dead = true;
    value->is_dead = true;
}
