#include "tests/sim/trace.h"

#include <stdarg.h>
#include <string.h>

#include "common/crc.h"
#include "common/map.h"

enum { TRACE_LINE_SIZE = 1024 };

void trace_init(struct trace *trace, const struct ria_clock *clock, FILE *out)
{
    *trace = (struct trace){.clock = clock, .out = out};
}

void trace_add(
    struct trace *trace, const char *tag, uint64_t a, uint64_t b, const void *data, size_t size
)
{
    uint64_t parts[6] = {
        trace->hash,
        (uint64_t)ria_clock_mono_us(trace->clock),
        ria_crc32c(tag, strlen(tag)),
        a,
        b,
        size > 0 ? ria_crc32c(data, size) : 0,
    };

    trace->hash = ria_hash_bytes(parts, sizeof(parts));
    trace->events++;
}

void trace_say(struct trace *trace, const char *fmt, ...)
{
    char line[TRACE_LINE_SIZE];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    trace_add(trace, "say", 0, 0, line, strlen(line));
    if (trace->out != NULL) {
        (void
        )fprintf(trace->out, "%10.6f %s\n", (double)ria_clock_mono_us(trace->clock) / 1e6, line);
    }
}
