#include "tests/sim/history.h"

#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

void history_init(struct history *history)
{
    *history = (struct history){.events = NULL};
}

void history_fini(struct history *history)
{
    for (size_t i = 0; i < history->text_count; i++) {
        free(history->texts[i]);
    }
    free(history->texts);
    free(history->events);
    free(history->producers);
    history_init(history);
}

void history_set_producer(struct history *history, uint32_t number, bool idempotent)
{
    uint32_t count = history->producer_count;

    if (number >= count) {
        size_t size = ((size_t)number + 1) * sizeof(*history->producers);
        history->producers = realloc(history->producers, size);
        RIA_ASSERT(history->producers != NULL);
        memset(history->producers + count, 0, size - count * sizeof(*history->producers));
        history->producer_count = number + 1;
    }
    history->producers[number].idempotent = idempotent;
}

uint32_t history_add_producer(struct history *history, bool idempotent)
{
    uint32_t number = history->producer_count;

    history_set_producer(history, number, idempotent);
    return number;
}

void history_add(struct history *history, const struct history_event *event)
{
    if (history->count == history->capacity) {
        history->capacity = history->capacity == 0 ? 1024 : 2 * history->capacity;
        history->events = realloc(history->events, history->capacity * sizeof(*history->events));
        RIA_ASSERT(history->events != NULL);
    }
    history->events[history->count++] = *event;
    uint32_t partition = event->partition > event->from ? event->partition : event->from;
    if (partition >= history->partition_count) {
        history->partition_count = partition + 1;
    }
    if (history_is_of_group(event->kind) && event->group >= history->group_count) {
        history->group_count = event->group + 1;
    }
}

const char *history_keep(struct history *history, const char *text)
{
    size_t count = history->text_count + 1;

    history->texts = realloc(history->texts, count * sizeof(*history->texts));
    RIA_ASSERT(history->texts != NULL);
    char *copy = strdup(text);
    RIA_ASSERT(copy != NULL);
    history->texts[history->text_count++] = copy;
    return copy;
}
