#include "services/replication/throttle.h"

enum { BURSTS_PER_SECOND = 10 };

void throttle_init(struct throttle *throttle, int64_t bytes_per_second, int64_t now_us)
{
    *throttle = (struct throttle){
        .rate = bytes_per_second,
        .tokens = bytes_per_second / BURSTS_PER_SECOND,
        .at_us = now_us,
    };
}

int64_t throttle_wait_us(struct throttle *throttle, int64_t now_us)
{
    int64_t passed_us = ria_min_i64(now_us - throttle->at_us, 1000 * 1000);
    int64_t gained = throttle->rate * passed_us / (1000 * 1000);

    if (throttle->rate == 0) {
        return 0;
    }
    if (gained > 0) { /* else the time goes on counting */
        throttle->tokens =
            ria_min_i64(throttle->tokens + gained, throttle->rate / BURSTS_PER_SECOND);
        throttle->at_us = now_us;
    }
    if (throttle->tokens > 0) {
        return 0;
    }
    return (1 - throttle->tokens) * 1000 * 1000 / throttle->rate + 1;
}

void throttle_take(struct throttle *throttle, int64_t bytes)
{
    if (throttle->rate > 0) {
        throttle->tokens -= bytes;
    }
}
