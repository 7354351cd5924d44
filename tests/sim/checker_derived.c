/* Derived topics: each source record is reflected once, or in the errors topic (checker.h). */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

#include "tests/sim/checker_internal.h"

void checker_on_derived(struct checker *checker, const struct history_event *event)
{
    size_t count = checker->derivation_count + 1;

    checker->derivations = realloc(checker->derivations, count * sizeof(*checker->derivations));
    RIA_ASSERT(checker->derivations != NULL);
    checker->derivations[checker->derivation_count++] =
        (struct derivation){.from = event->from, .to = event->partition, .skip = event->skip};
    checker->partitions[event->partition].is_derived = true;
}

/* Of the value's own partition, to `to`. NULL: there is none. */
static const struct derivation *
find_derivation(const struct checker *checker, uint32_t to, uint64_t value)
{
    uint32_t from = checker->producers[history_value_producer(value)].partition;

    for (size_t i = 0; i < checker->derivation_count; i++) {
        const struct derivation *derivation = &checker->derivations[i];
        if (derivation->from == from && derivation->to == to) {
            return derivation;
        }
    }
    return NULL;
}

bool checker_may_be_derived(const struct checker *checker, uint32_t partition, uint64_t value)
{
    const struct derivation *derivation = find_derivation(checker, partition, value);

    return derivation != NULL && history_passes(value, derivation->skip);
}

void checker_note_derived(struct checker *checker, const struct history_event *event)
{
    if (!checker->log.event.is_leader) {
        return;
    }
    if (checker->derived_count == checker->derived_capacity) {
        size_t capacity = checker->derived_capacity == 0 ? 1024 : 2 * checker->derived_capacity;
        checker->derived = realloc(checker->derived, capacity * sizeof(*checker->derived));
        RIA_ASSERT(checker->derived != NULL);
        checker->derived_capacity = capacity;
    }
    checker->derived[checker->derived_count++] = (struct derived_record
    ){.partition = event->partition, .offset = event->offset, .value = event->value};
    checker_find_value(checker, event->value)->derived++;
}

/* The records of one source are in its order. last is by source partition. */
static void
check_record(struct checker *checker, const struct derived_record *record, int64_t *last)
{
    const struct value_state *value = checker_find_value(checker, record->value);
    uint32_t from = checker->producers[history_value_producer(record->value)].partition;

    if (!value->in_source) {
        checker_violate(
            checker,
            "derived-invented",
            record->partition,
            record->offset,
            record->value,
            "its input is not in the source's log"
        );
    } else if (value->source_offset < last[from]) {
        checker_violate(
            checker,
            "derived-order",
            record->partition,
            record->offset,
            record->value,
            "its input is at %" PRId64 " of partition %" PRIu32
            ", the one before it came from %" PRId64,
            value->source_offset,
            from,
            last[from]
        );
    }
    last[from] = value->source_offset;
}

static const struct derivation *find_any(const struct checker *checker, uint32_t from)
{
    for (size_t i = 0; i < checker->derivation_count; i++) {
        if (checker->derivations[i].from == from) {
            return &checker->derivations[i];
        }
    }
    return NULL;
}

static void check_input(
    struct checker *checker,
    const struct derivation *derivation,
    const struct value_state *value,
    uint64_t id
)
{
    if (!value->in_source || !history_passes(id, derivation->skip) || value->derived == 1) {
        return;
    }
    checker_violate(
        checker,
        value->derived == 0 ? "derived-lost" : "derived-twice",
        derivation->from,
        value->source_offset,
        id,
        "its output is in the derived logs %" PRIu32 " times",
        value->derived
    );
}

void checker_finish_derived(struct checker *checker)
{
    int64_t *last = calloc((size_t)checker->history->partition_count + 1, sizeof(*last));

    RIA_ASSERT(last != NULL);
    for (size_t i = 0; i < checker->derived_count; i++) {
        const struct derived_record *record = &checker->derived[i];
        if (i == 0 || record[-1].partition != record->partition) {
            memset(last, 0, checker->history->partition_count * sizeof(*last));
        }
        check_record(checker, record, last);
    }
    free(last);
    for (uint32_t i = 0; i < checker->history->producer_count; i++) {
        const struct producer_state *producer = &checker->producers[i];
        const struct derivation *derivation = find_any(checker, producer->partition);
        for (uint32_t j = 0; derivation != NULL && j < producer->value_count; j++) {
            check_input(checker, derivation, &producer->values[j], history_value(i, j));
        }
    }
}
