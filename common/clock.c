#include "common/clock.h"

#include <time.h>

#include "common/assert.h"

static int64_t read_us(clockid_t id)
{
    struct timespec now;

    int failed = clock_gettime(id, &now);
    RIA_ASSERT(failed == 0);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int64_t system_mono_us(const struct ria_clock *clock)
{
    (void)clock;
    return read_us(CLOCK_MONOTONIC);
}

static int64_t system_wall_ms(const struct ria_clock *clock)
{
    (void)clock;
    return read_us(CLOCK_REALTIME) / 1000;
}

const struct ria_clock *ria_clock_system(void)
{
    static const struct ria_clock clock = {.mono_us = system_mono_us, .wall_ms = system_wall_ms};

    return &clock;
}
