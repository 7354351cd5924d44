/* trace: a hash over everything that happened in a run, in order. Two runs of a seed that agree in
 * it were the same run. With a stream it also tells a person what happened.
 */
#pragma once

#include <stdio.h>

#include "common/base.h"
#include "common/clock.h"

struct trace {
    const struct ria_clock *clock;
    uint64_t hash;
    uint64_t events;
    FILE *out; /* NULL: say nothing */
};

void trace_init(struct trace *trace, const struct ria_clock *clock, FILE *out);

/* Something happened at this virtual time. tag is short; data may be NULL. */
void trace_add(
    struct trace *trace, const char *tag, uint64_t a, uint64_t b, const void *data, size_t size
);

/* A line with the virtual time in front, for the person. Also counts as an event. */
void trace_say(struct trace *trace, const char *fmt, ...) RIA_PRINTF(2, 3);
