/* clock: time as an input. Cores never ask the system: they are given one of these.
 *
 * Two clocks: mono_us never goes back and times everything (deadlines, leases, back-off);
 * wall_ms only stamps records and is never compared with another machine's.
 */
#pragma once

#include "common/base.h"

struct ria_clock {
    int64_t (*mono_us)(const struct ria_clock *clock); /* microseconds since some start */
    int64_t (*wall_ms)(const struct ria_clock *clock); /* milliseconds since 1970, UTC */
};

/* The system's clocks (CLOCK_MONOTONIC, CLOCK_REALTIME). Thread-safe. */
const struct ria_clock *ria_clock_system(void);

static inline int64_t ria_clock_mono_us(const struct ria_clock *clock)
{
    return clock->mono_us(clock);
}

static inline int64_t ria_clock_wall_ms(const struct ria_clock *clock)
{
    return clock->wall_ms(clock);
}
