/* lease_clock: the time that leases, locks and members' sessions are measured in.
 *
 * Milliseconds. It begins with what `cluster.lease_ms` had when the process started and goes on
 * with the monotonic clock: it only grows, knows no jumps of the wall clock, and stands still while
 * no coordinator runs, so that nobody's lease ends because the coordinator was away. Commands carry
 * it and write it (docs/design/010-consuming.md, "Time").
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/clock.h"

struct lease_clock {
    const struct ria_clock *clock;
    int64_t base_ms;
    int64_t base_us;
};

/* Borrows clock. lease_ms: the last time that was written. */
void lease_clock_init(
    struct lease_clock *lease_clock, const struct ria_clock *clock, int64_t lease_ms
);

int64_t lease_clock_ms(const struct lease_clock *lease_clock);
