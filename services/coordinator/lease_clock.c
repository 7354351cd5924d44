#include "services/coordinator/lease_clock.h"

void lease_clock_init(
    struct lease_clock *lease_clock, const struct ria_clock *clock, int64_t lease_ms
)
{
    *lease_clock = (struct lease_clock){
        .clock = clock,
        .base_ms = lease_ms,
        .base_us = ria_clock_mono_us(clock),
    };
}

int64_t lease_clock_ms(const struct lease_clock *lease_clock)
{
    int64_t passed_us = ria_clock_mono_us(lease_clock->clock) - lease_clock->base_us;

    return lease_clock->base_ms + passed_us / 1000;
}
