/* The history read event by event: what was acknowledged and what was read of it (checker.h). */
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

#include "tests/sim/checker_internal.h"
#include "tests/sim/history_text.h"

enum {
    CHECKER_OFFSET_MAX = 50 * 1000 * 1000, /* of a sane history: arrays are indexed by it */
};
/* ---- violations ---- */

void checker_violate(
    struct checker *checker,
    const char *rule,
    uint32_t partition,
    int64_t offset,
    uint64_t value,
    const char *fmt,
    ...
)
{
    struct checker_result *result = checker->result;
    va_list args;

    if (result->count++ >= CHECKER_VIOLATIONS_MAX) {
        return;
    }
    struct checker_violation *violation = &result->violations[result->count - 1];
    *violation = (struct checker_violation
    ){.rule = rule, .partition = partition, .offset = offset, .value = value};
    va_start(args, fmt);
    (void)vsnprintf(violation->text, sizeof(violation->text), fmt, args);
    va_end(args);
}

static void *new_array(size_t count, size_t item_size)
{
    void *array = calloc(count == 0 ? 1 : count, item_size);

    RIA_ASSERT(array != NULL);
    return array;
}

/* ---- values ---- */

struct value_state *checker_find_value(struct checker *checker, uint64_t value)
{
    uint32_t producer = history_value_producer(value);
    uint32_t number = history_value_number(value);

    if (producer >= checker->history->producer_count ||
        number >= checker->producers[producer].value_count) {
        return NULL;
    }
    struct value_state *state = &checker->producers[producer].values[number];
    return state->sent ? state : NULL;
}

static struct value_state *make_value(struct checker *checker, uint64_t value)
{
    struct producer_state *producer = &checker->producers[history_value_producer(value)];
    uint32_t number = history_value_number(value);

    if (number >= producer->value_count) {
        uint32_t count = number < 512 ? 1024 : number * 2;
        producer->values = realloc(producer->values, count * sizeof(*producer->values));
        RIA_ASSERT(producer->values != NULL);
        memset(
            producer->values + producer->value_count,
            0,
            (count - producer->value_count) * sizeof(*producer->values)
        );
        producer->value_count = count;
    }
    return &producer->values[number];
}

static bool belongs(struct checker *checker, uint32_t partition, uint64_t value)
{
    if (checker_find_value(checker, value) == NULL) {
        return false;
    }
    return checker->partitions[partition].is_derived
               ? checker_may_be_derived(checker, partition, value)
               : checker->producers[history_value_producer(value)].partition == partition;
}

/* Also says so if the value was never sent there. */
static bool is_known(struct checker *checker, const struct history_event *event)
{
    bool known = belongs(checker, event->partition, event->value);

    if (!known) {
        checker_violate(
            checker,
            "invented",
            event->partition,
            event->offset,
            event->value,
            "offset %" PRId64 " holds a record that nobody sent to this partition",
            event->offset
        );
    }
    return known;
}

/* ---- what is committed ---- */

static bool
is_sane_offset(struct checker *checker, const struct history_event *event, int64_t offset)
{
    bool sane = offset >= 0 && offset < CHECKER_OFFSET_MAX;

    if (!sane) {
        checker_violate(
            checker,
            "gap",
            event->partition,
            offset,
            event->value,
            "offset %" PRId64 " cannot be: so much was never written",
            offset
        );
    }
    return sane;
}

static void
commit(struct checker *checker, const struct history_event *event, int64_t offset, uint64_t value)
{
    struct partition_state *partition = &checker->partitions[event->partition];

    if (!is_sane_offset(checker, event, offset)) {
        return;
    }
    if (offset >= partition->committed_count) {
        int64_t count = ria_max_i64(1024, 2 * offset);
        partition->committed =
            realloc(partition->committed, (size_t)count * sizeof(*partition->committed));
        RIA_ASSERT(partition->committed != NULL);
        for (int64_t i = partition->committed_count; i < count; i++) {
            partition->committed[i] = HISTORY_NO_VALUE;
        }
        partition->committed_count = count;
    }
    uint64_t known = partition->committed[offset];
    if (known != HISTORY_NO_VALUE && known != value) {
        checker_violate(
            checker,
            "two-values",
            event->partition,
            offset,
            value,
            "offset %" PRId64 " held %" PRIu32 ".%" PRIu32 " before",
            offset,
            history_value_producer(known),
            history_value_number(known)
        );
        return;
    }
    partition->committed[offset] = value;
}

/* ---- producers ---- */

/* SEND and its answers; false: the event makes no sense (which has been said). */
static bool is_sane_batch(struct checker *checker, const struct history_event *event)
{
    const struct producer_state *producer = &checker->producers[event->actor];
    const char *flaw = NULL;

    if (event->actor >= checker->history->producer_count ||
        history_value_producer(event->value) != event->actor) {
        flaw = "nobody knows this producer";
    } else if (event->count <= 0 || event->count > UINT32_MAX - history_value_number(event->value)) {
        flaw = "it is about no records";
    } else if (event->kind != HISTORY_SEND && !producer->has_partition) {
        flaw = "an answer to what was not sent";
    } else if (producer->has_partition && producer->partition != event->partition) {
        flaw = "its producer has another partition";
    }
    for (int64_t i = 0; flaw == NULL && event->kind != HISTORY_SEND && i < event->count; i++) {
        if (checker_find_value(checker, event->value + (uint64_t)i) == NULL) {
            flaw = "an answer to what was not sent";
        }
    }
    if (flaw != NULL) {
        checker_violate(
            checker, "bad-history", event->partition, event->offset, event->value, "%s", flaw
        );
    }
    return flaw == NULL;
}

static void on_send(struct checker *checker, const struct history_event *event)
{
    struct producer_state *producer = &checker->producers[event->actor];

    if (!producer->has_partition) {
        producer->has_partition = true;
        producer->partition = event->partition;
        producer->acked_max = -1;
    }
    for (int64_t i = 0; i < event->count; i++) {
        struct value_state *value = make_value(checker, event->value + (uint64_t)i);
        if (!value->sent) {
            value->sent = true;
            value->due_us = event->until_us;
            value->floor = producer->acked_max;
        }
    }
}

static void on_ack(struct checker *checker, const struct history_event *event)
{
    struct producer_state *producer = &checker->producers[event->actor];

    for (int64_t i = 0; i < event->count; i++) {
        uint64_t id = event->value + (uint64_t)i;
        int64_t offset = event->offset + i;
        struct value_state *value = checker_find_value(checker, id);
        RIA_ASSERT(value != NULL); /* is_sane_batch() */
        if (value->outcome == OUTCOME_ACKED) {
            continue; /* an answer that was repeated; two-values compares the offsets */
        }
        if (offset <= value->floor) {
            checker_violate(
                checker,
                "order",
                event->partition,
                offset,
                id,
                "sent after offset %" PRId64 " was acknowledged, stored before it at %" PRId64,
                value->floor,
                offset
            );
        }
        value->outcome = OUTCOME_ACKED;
        value->offset = offset;
        producer->acked_max = ria_max_i64(producer->acked_max, offset);
        checker->result->records_acked++;
        commit(checker, event, offset, id);
    }
}

static void
on_end(struct checker *checker, const struct history_event *event, value_outcome outcome)
{
    for (int64_t i = 0; i < event->count; i++) {
        struct value_state *value = checker_find_value(checker, event->value + (uint64_t)i);
        RIA_ASSERT(value != NULL); /* is_sane_batch() */
        if (value->outcome == OUTCOME_OPEN) {
            value->outcome = outcome;
        }
    }
}

/* ---- readers ---- */

static size_t seen_index(const struct checker *checker, const struct history_event *event)
{
    return (size_t)event->actor * checker->history->partition_count + event->partition;
}

static void on_fetch(struct checker *checker, const struct history_event *event)
{
    struct seen_watermark *seen = &checker->readers[seen_index(checker, event)];

    checker_on_watermark(checker, seen, event);
    checker_note_told(checker, event);
    seen->next_read = event->offset;
    seen->reads_left = event->count;
}

static void on_read(struct checker *checker, const struct history_event *event)
{
    struct seen_watermark *seen = &checker->readers[seen_index(checker, event)];

    checker->result->records_read++;
    if (!is_known(checker, event)) {
        return;
    }
    if (seen->watermark != HISTORY_NO_WATERMARK && event->offset >= seen->watermark) {
        checker_violate(
            checker,
            "read-past-watermark",
            event->partition,
            event->offset,
            event->value,
            "read at offset %" PRId64 ", but the high watermark is %" PRId64,
            event->offset,
            seen->watermark
        );
    }
    if (seen->reads_left == 0 || event->offset != seen->next_read) {
        checker_violate(
            checker,
            "read-skip",
            event->partition,
            event->offset,
            event->value,
            "offset %" PRId64 " came where %" PRId64 " was due",
            event->offset,
            seen->next_read
        );
    }
    seen->next_read = event->offset + 1;
    seen->reads_left -= seen->reads_left > 0;
    commit(checker, event, event->offset, event->value);
}

static void on_stored(struct checker *checker, const struct history_event *event)
{
    if (is_known(checker, event)) {
        commit(checker, event, event->offset, event->value);
    }
}

/* ---- logs at the end ---- */

static void finish_log(struct checker *checker)
{
    const struct log_state *log = &checker->log;
    int64_t end = log->event.offset + log->event.count;

    if (log->id > 0 && log->next != end) {
        checker_violate(
            checker,
            "gap",
            log->event.partition,
            log->next,
            HISTORY_NO_VALUE,
            "the log of node %" PRIu32 " ends at %" PRId64 ", it says at %" PRId64,
            log->event.actor,
            log->next,
            end
        );
    }
}

static void on_replica(struct checker *checker, const struct history_event *event)
{
    struct partition_state *partition = &checker->partitions[event->partition];

    finish_log(checker);
    checker->log.id++;
    checker->log.event = *event;
    checker->log.next = event->offset;
    partition->in_sync_count += event->is_in_sync;
    partition->leader_end = event->is_leader ? event->offset + event->count : partition->leader_end;
    partition->has_leader = partition->has_leader || event->is_leader;
}

static void check_order_in_log(struct checker *checker, const struct history_event *event)
{
    uint32_t number = history_value_number(event->value);
    uint32_t id = history_value_producer(event->value);
    struct producer_state *producer = &checker->producers[id];

    if (checker->history->producers[id].idempotent && producer->in_log == checker->log.id &&
        number < producer->last_number) {
        checker_violate(
            checker,
            "order",
            event->partition,
            event->offset,
            event->value,
            "node %" PRIu32 " holds it behind %" PRIu32 ".%" PRIu32 ", which was sent later",
            event->actor,
            id,
            producer->last_number
        );
    }
    producer->in_log = checker->log.id;
    producer->last_number = number;
}

static void note_place(const struct log_state *log, struct value_state *value, int64_t offset)
{
    if (log->event.is_leader) {
        value->in_source = true;
        value->source_offset = offset;
    }
    if (value->outcome == OUTCOME_ACKED && value->offset == offset) {
        value->in_sync += log->event.is_in_sync;
        value->in_leader = value->in_leader || log->event.is_leader;
    }
}

/* What counts of a log at the end. */
static void commit_record(struct checker *checker, const struct history_event *event)
{
    const struct history_event *log = &checker->log.event;

    if (log->is_leader || log->is_in_sync || event->offset < log->watermark) {
        commit(checker, event, event->offset, event->value);
    }
}

/* May the log hold this value, and here? */
static void check_place(
    struct checker *checker,
    const struct history_event *event,
    const struct value_state *value,
    bool is_copy
)
{
    if (is_copy) {
        checker_violate(
            checker,
            "stored-twice",
            event->partition,
            event->offset,
            event->value,
            "the log of node %" PRIu32 " holds it twice",
            event->actor
        );
    }
    if (value->outcome == OUTCOME_FAILED) {
        checker_violate(
            checker,
            "failed-but-stored",
            event->partition,
            event->offset,
            event->value,
            "its producer was told it was not stored; node %" PRIu32 " holds it",
            event->actor
        );
    }
}

static void on_record(struct checker *checker, const struct history_event *event)
{
    struct log_state *log = &checker->log;

    if (log->id == 0 || event->actor != log->event.actor ||
        event->partition != log->event.partition) {
        checker_violate(
            checker,
            "bad-history",
            event->partition,
            event->offset,
            event->value,
            "a record of a log that did not begin"
        );
        return;
    }
    if (event->offset != log->next) {
        checker_violate(
            checker,
            "gap",
            event->partition,
            event->offset,
            event->value,
            "in the log of node %" PRIu32 " offset %" PRId64 " came where %" PRId64 " was due",
            event->actor,
            event->offset,
            log->next
        );
    }
    log->next = event->offset + 1;
    if (!is_known(checker, event)) {
        return;
    }
    struct value_state *value = checker_find_value(checker, event->value);
    RIA_ASSERT(value != NULL);
    bool is_copy = value->in_log == log->id;
    if (is_copy && checker->partitions[event->partition].is_redriven) {
        value->has_copy = true; /* its first one counts as the record; checker_finish_groups() */
        commit_record(checker, event);
        return;
    }
    check_place(checker, event, value, is_copy);
    value->in_log = log->id;
    check_order_in_log(checker, event);
    if (checker->partitions[event->partition].is_derived) {
        checker_note_derived(checker, event);
    } else {
        note_place(log, value, event->offset);
    }
    commit_record(checker, event);
}

/* ---- at the end ---- */

static void check_acked(struct checker *checker, uint32_t producer_id, uint32_t number)
{
    const struct producer_state *producer = &checker->producers[producer_id];
    const struct value_state *value = &producer->values[number];
    const struct partition_state *partition = &checker->partitions[producer->partition];

    if (value->outcome != OUTCOME_ACKED || partition->is_dropped) {
        return;
    }
    if (!value->in_leader) {
        checker_violate(
            checker,
            "lost-write",
            producer->partition,
            value->offset,
            history_value(producer_id, number),
            "acknowledged at offset %" PRId64 ", at the end not there in the leader's log",
            value->offset
        );
    } else if (value->in_sync < partition->in_sync_count) {
        checker_violate(
            checker,
            "lost-on-replica",
            producer->partition,
            value->offset,
            history_value(producer_id, number),
            "acknowledged at offset %" PRId64 ", at the end on %" PRIu32 " of %" PRIu32
            " in-sync replicas",
            value->offset,
            value->in_sync,
            partition->in_sync_count
        );
    }
}

static void check_committed(struct checker *checker, uint32_t partition)
{
    const struct partition_state *state = &checker->partitions[partition];

    if (!state->has_leader && !state->is_dropped) {
        checker_violate(
            checker,
            "no-leader",
            partition,
            HISTORY_NO_OFFSET,
            HISTORY_NO_VALUE,
            "at the end no replica leads the partition"
        );
    }
    for (int64_t i = 0; i < state->committed_count; i++) {
        if (state->committed[i] == HISTORY_NO_VALUE) {
            continue;
        }
        const struct value_state *value = checker_find_value(checker, state->committed[i]);
        if (value != NULL && value->outcome == OUTCOME_FAILED) {
            checker_violate(
                checker,
                "failed-but-stored",
                partition,
                i,
                state->committed[i],
                "its producer was told it was not stored; it was seen at offset %" PRId64,
                i
            );
        }
    }
}

static void judge_batch(struct checker *checker, const struct history_event *event)
{
    if (!is_sane_batch(checker, event)) {
        return;
    }
    if (event->kind == HISTORY_SEND) {
        on_send(checker, event);
    } else if (event->kind == HISTORY_ACK) {
        on_ack(checker, event);
    } else {
        on_end(checker, event, event->kind == HISTORY_FAIL ? OUTCOME_FAILED : OUTCOME_UNKNOWN);
    }
}

static void judge(struct checker *checker, const struct history_event *event)
{
    switch (event->kind) {
    case HISTORY_SEND:
    case HISTORY_ACK:
    case HISTORY_FAIL:
    case HISTORY_UNKNOWN:
        judge_batch(checker, event);
        break;
    case HISTORY_FETCH:
        on_fetch(checker, event);
        break;
    case HISTORY_READ:
        on_read(checker, event);
        break;
    case HISTORY_WATERMARK:
        checker_on_watermark(checker, &checker->nodes[seen_index(checker, event)], event);
        break;
    case HISTORY_STORED:
        on_stored(checker, event);
        break;
    case HISTORY_REPLICA:
        on_replica(checker, event);
        break;
    case HISTORY_RECORD:
        on_record(checker, event);
        break;
    case HISTORY_DERIVED:
        checker_on_derived(checker, event);
        break;
    case HISTORY_DROPPED:
        checker->partitions[event->partition].is_dropped = true;
        break;
    case HISTORY_CONSUMES:
    case HISTORY_DELIVERED:
    case HISTORY_COMMIT:
    case HISTORY_COMMITTED:
    case HISTORY_LOST:
    case HISTORY_RESET:
    case HISTORY_POSITION:
    case HISTORY_LOCKED:
    case HISTORY_SAY:
    case HISTORY_TOLD:
    case HISTORY_DEAD:
    case HISTORY_REDRIVE:
        checker_on_group(checker, event);
        break;
    case HISTORY_BROKEN:
        checker_violate(
            checker, event->rule, event->partition, event->offset, event->value, "%s", event->text
        );
        break;
    }
}

static uint32_t count_actors(const struct history *history)
{
    uint32_t count = 0;

    for (size_t i = 0; i < history->count; i++) {
        if (history->events[i].actor >= count) {
            count = history->events[i].actor + 1;
        }
    }
    return count;
}

static size_t count_consumed(const struct history *history)
{
    return (size_t)history->group_count * history->partition_count;
}

static void release(struct checker *checker)
{
    for (size_t i = 0; i < count_consumed(checker->history); i++) {
        free(checker->consumed[i].records);
        free(checker->consumed[i].keys);
    }
    free(checker->consumed);
    for (uint32_t i = 0; i < checker->history->producer_count; i++) {
        free(checker->producers[i].values);
    }
    for (uint32_t i = 0; i < checker->history->partition_count; i++) {
        free(checker->partitions[i].committed);
        free(checker->partitions[i].told);
    }
    free(checker->derivations);
    free(checker->derived);
    free(checker->producers);
    free(checker->partitions);
    free(checker->readers);
    free(checker->nodes);
}

void checker_run(const struct history *history, struct checker_result *out_result)
{
    size_t pairs = (size_t)count_actors(history) * history->partition_count;
    struct checker checker = {
        .history = history,
        .result = out_result,
        .producers = new_array(history->producer_count, sizeof(*checker.producers)),
        .partitions = new_array(history->partition_count, sizeof(*checker.partitions)),
        .readers = new_array(pairs, sizeof(*checker.readers)),
        .nodes = new_array(pairs, sizeof(*checker.nodes)),
        .consumed = new_array(count_consumed(history), sizeof(*checker.consumed)),
    };

    *out_result = (struct checker_result){.count = 0};
    for (size_t i = 0; i < history->count; i++) {
        judge(&checker, &history->events[i]);
    }
    finish_log(&checker);
    for (uint32_t i = 0; i < history->producer_count; i++) {
        for (uint32_t j = 0; j < checker.producers[i].value_count; j++) {
            check_acked(&checker, i, j);
        }
    }
    for (uint32_t i = 0; i < history->partition_count; i++) {
        check_committed(&checker, i);
        checker_finish_told(&checker, i);
    }
    checker_finish_derived(&checker);
    checker_finish_groups(&checker);
    release(&checker);
}

void checker_report(
    const struct checker_result *result, const struct history *history, FILE *out, size_t line_max
)
{
    for (size_t i = 0; i < result->count && i < CHECKER_VIOLATIONS_MAX; i++) {
        const struct checker_violation *violation = &result->violations[i];
        (void)fprintf(
            out,
            "violated: %s, partition %" PRIu32 ": %s\n",
            violation->rule,
            violation->partition,
            violation->text
        );
        if (i == 0) {
            history_print(
                history, out, violation->partition, violation->offset, violation->value, line_max
            );
        }
    }
    if (result->count > CHECKER_VIOLATIONS_MAX) {
        (void)fprintf(out, "... %zu more violations\n", result->count - CHECKER_VIOLATIONS_MAX);
    }
}
