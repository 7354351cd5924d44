/* timers: timers of one thread, ordered by deadline. Pure: it never reads a clock.
 *
 * The owner (the event loop, or the simulator) calls ria_timers_run(now); everyone else embeds a
 * struct ria_timer and starts or stops it. A callback may start, stop and free any timer, its own
 * included. Timers with equal deadlines fire in the order they were started.
 */
#pragma once

#include "common/base.h"
#include "common/clock.h"
#include "common/heap.h"

struct ria_timer;
typedef void (*ria_timer_fn)(struct ria_timer *timer, void *arg);

struct ria_timer {
    struct ria_heap_node node;
    int64_t deadline_us; /* on the mono clock */
    uint64_t order;      /* start order, breaks ties */
    ria_timer_fn fn;
    void *arg;
    bool active;
};

struct ria_timers {
    struct ria_heap heap;
    const struct ria_clock *clock;
    uint64_t order_next;
};

/* Borrows clock for its whole life. */
void ria_timers_init(struct ria_timers *timers, const struct ria_clock *clock);

/* Storage of the timer is the caller's; fn and arg stay for its life. */
void ria_timer_init(struct ria_timer *timer, ria_timer_fn fn, void *arg);

/* (Re)start: fn runs once, delay_us from now at the earliest. Needs memory only for the heap array:
 * on failure to grow it the process aborts (bounded by the number of timers ever alive at once). */
void ria_timer_start(struct ria_timers *timers, struct ria_timer *timer, int64_t delay_us);

/* No-op on a timer that is not active. */
void ria_timer_stop(struct ria_timers *timers, struct ria_timer *timer);

/* Fire everything that is due. Returns microseconds until the next deadline, -1 if there is none.
 */
int64_t ria_timers_run(struct ria_timers *timers);

/* The next deadline in mono microseconds, INT64_MAX if there is none. */
int64_t ria_timers_next_us(const struct ria_timers *timers);

void ria_timers_fini(struct ria_timers *timers);
