#include "tests/sim/history.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/assert.h"

enum { HISTORY_LINE_SIZE = 256 };

void history_init(struct history *history)
{
    *history = (struct history){.events = NULL};
}

void history_fini(struct history *history)
{
    free(history->events);
    free(history->producers);
    history_init(history);
}

uint32_t history_add_producer(struct history *history, bool idempotent)
{
    size_t size = (history->producer_count + 1) * sizeof(*history->producers);

    history->producers = realloc(history->producers, size);
    RIA_ASSERT(history->producers != NULL);
    history->producers[history->producer_count] =
        (struct history_producer){.idempotent = idempotent};
    return history->producer_count++;
}

void history_add(struct history *history, const struct history_event *event)
{
    if (history->count == history->capacity) {
        history->capacity = history->capacity == 0 ? 1024 : 2 * history->capacity;
        history->events = realloc(history->events, history->capacity * sizeof(*history->events));
        RIA_ASSERT(history->events != NULL);
    }
    history->events[history->count++] = *event;
    if (event->partition >= history->partition_count) {
        history->partition_count = event->partition + 1;
    }
}

/* ---- printing ---- */

#define HISTORY_NAME_(name, actor, about) #name,
static const char *const kind_names[] = {HISTORY_KINDS(HISTORY_NAME_)};

#define HISTORY_ACTOR_(name, actor, about) actor,
static const char *const kind_actors[] = {HISTORY_KINDS(HISTORY_ACTOR_)};

static void format_value(uint64_t value, char *out, size_t out_size)
{
    (void)snprintf(
        out,
        out_size,
        "%" PRIu32 ".%" PRIu32,
        history_value_producer(value),
        history_value_number(value)
    );
}

/* What the kind says, without time and actor. */
static void format_rest(const struct history_event *event, char *out, size_t out_size)
{
    char value[32];

    format_value(event->value, value, sizeof(value));
    switch (event->kind) {
    case HISTORY_SEND:
    case HISTORY_FAIL:
    case HISTORY_UNKNOWN:
        (void)snprintf(out, out_size, "values=%s+%" PRId64, value, event->count);
        break;
    case HISTORY_ACK:
        (void)snprintf(
            out,
            out_size,
            "values=%s+%" PRId64 " offset=%" PRId64,
            value,
            event->count,
            event->offset
        );
        break;
    case HISTORY_FETCH:
        (void)snprintf(
            out,
            out_size,
            "offset=%" PRId64 " epoch=%" PRId32 " watermark=%" PRId64 " records=%" PRId64,
            event->offset,
            event->epoch,
            event->watermark,
            event->count
        );
        break;
    case HISTORY_READ:
    case HISTORY_STORED:
    case HISTORY_RECORD:
        (void)snprintf(
            out,
            out_size,
            "offset=%" PRId64 " value=%s watermark=%" PRId64,
            event->offset,
            value,
            event->watermark
        );
        break;
    case HISTORY_WATERMARK:
        (void)snprintf(
            out, out_size, "epoch=%" PRId32 " watermark=%" PRId64, event->epoch, event->watermark
        );
        break;
    case HISTORY_REPLICA:
        (void)snprintf(
            out,
            out_size,
            "epoch=%" PRId32 " start=%" PRId64 " records=%" PRId64 " watermark=%" PRId64 "%s%s",
            event->epoch,
            event->offset,
            event->count,
            event->watermark,
            event->is_leader ? " leader" : "",
            event->is_in_sync ? " in-sync" : ""
        );
        break;
    case HISTORY_DROPPED:
        out[0] = '\0';
        break;
    case HISTORY_BROKEN:
        (void)snprintf(out, out_size, "%s: %s", event->rule, event->text);
        break;
    }
}

void history_format(const struct history_event *event, char *out, size_t out_size)
{
    char rest[HISTORY_LINE_SIZE];

    format_rest(event, rest, sizeof(rest));
    (void)snprintf(
        out,
        out_size,
        "%10.6f %-9s %s%s%" PRIu32 " partition=%" PRIu32 " %s",
        (double)event->time_us / 1e6,
        kind_names[event->kind],
        kind_actors[event->kind],
        kind_actors[event->kind][0] == '\0' ? "actor " : " ",
        event->actor,
        event->partition,
        rest
    );
}

static bool covers_value(const struct history_event *event, uint64_t value)
{
    return value != HISTORY_NO_VALUE && value >= event->value &&
           value - event->value < (uint64_t)event->count;
}

static bool
touches(const struct history_event *event, uint32_t partition, int64_t offset, uint64_t value)
{
    bool same_partition = event->partition == partition;

    switch (event->kind) {
    case HISTORY_ACK:
        return covers_value(event, value) ||
               (same_partition && offset >= event->offset && offset < event->offset + event->count);
    case HISTORY_SEND:
    case HISTORY_FAIL:
    case HISTORY_UNKNOWN:
        return covers_value(event, value);
    case HISTORY_READ:
    case HISTORY_STORED:
    case HISTORY_RECORD:
        return event->value == value || (same_partition && event->offset == offset);
    case HISTORY_REPLICA:
    case HISTORY_DROPPED:
        return same_partition;
    case HISTORY_BROKEN:
        return same_partition && offset == HISTORY_NO_OFFSET && value == HISTORY_NO_VALUE;
    case HISTORY_FETCH:
    case HISTORY_WATERMARK:
        return false;
    }
    return false;
}

void history_print(
    const struct history *history,
    FILE *out,
    uint32_t partition,
    int64_t offset,
    uint64_t value,
    size_t line_max
)
{
    char line[HISTORY_LINE_SIZE];
    size_t total = 0;
    size_t at = 0;

    for (size_t i = 0; i < history->count; i++) {
        total += touches(&history->events[i], partition, offset, value);
    }
    for (size_t i = 0; i < history->count; i++) {
        if (!touches(&history->events[i], partition, offset, value)) {
            continue;
        }
        bool skipped = total > line_max && at >= line_max / 2 && at < total - line_max / 2;
        if (!skipped) {
            history_format(&history->events[i], line, sizeof(line));
            (void)fprintf(out, "  %s\n", line);
        } else if (at == line_max / 2) {
            (void)fprintf(out, "  ... %zu more ...\n", total - line_max / 2 * 2);
        }
        at++;
    }
}

void history_print_all(const struct history *history, FILE *out)
{
    char line[HISTORY_LINE_SIZE];

    for (size_t i = 0; i < history->count; i++) {
        history_format(&history->events[i], line, sizeof(line));
        (void)fprintf(out, "%s\n", line);
    }
}
