/* throttle: a token bucket of bytes. Debts are allowed: who took too much waits the longer.
 *
 * Pure: the time comes with each call.
 */
#pragma once

#include "common/base.h"

struct throttle {
    int64_t rate;   /* bytes per second; 0 = unlimited */
    int64_t tokens; /* at at_us; at most a tenth of a second's worth */
    int64_t at_us;
};

void throttle_init(struct throttle *throttle, int64_t bytes_per_second, int64_t now_us);

/* 0: bytes may be taken now; else microseconds until they may. */
int64_t throttle_wait_us(struct throttle *throttle, int64_t now_us);

void throttle_take(struct throttle *throttle, int64_t bytes);
