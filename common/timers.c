#include "common/timers.h"

#include "common/assert.h"

static const struct ria_timer *timer_of(const struct ria_heap_node *node)
{
    return (const struct ria_timer *)(const void
                                          *)((const char *)node - offsetof(struct ria_timer, node));
}

static bool timer_less(const struct ria_heap_node *node_a, const struct ria_heap_node *node_b)
{
    const struct ria_timer *a = timer_of(node_a);
    const struct ria_timer *b = timer_of(node_b);

    return a->deadline_us != b->deadline_us ? a->deadline_us < b->deadline_us : a->order < b->order;
}

static struct ria_timer *timers_top(const struct ria_timers *timers)
{
    struct ria_heap_node *node = ria_heap_top(&timers->heap);

    return node == NULL ? NULL : RIA_CONTAINER(node, struct ria_timer, node);
}

void ria_timers_init(struct ria_timers *timers, const struct ria_clock *clock)
{
    RIA_ASSERT(clock != NULL);
    *timers = (struct ria_timers){.clock = clock};
    ria_heap_init(&timers->heap, timer_less);
}

void ria_timers_fini(struct ria_timers *timers)
{
    ria_heap_fini(&timers->heap);
}

void ria_timer_init(struct ria_timer *timer, ria_timer_fn fn, void *arg)
{
    RIA_ASSERT(fn != NULL);
    *timer = (struct ria_timer){.fn = fn, .arg = arg};
}

void ria_timer_start(struct ria_timers *timers, struct ria_timer *timer, int64_t delay_us)
{
    int64_t now_us = ria_clock_mono_us(timers->clock);

    RIA_ASSERT(timer->fn != NULL);
    RIA_ASSERT(delay_us >= 0);

    timer->deadline_us = delay_us > INT64_MAX - now_us ? INT64_MAX : now_us + delay_us;
    timer->order = timers->order_next++;
    if (timer->active) {
        ria_heap_update(&timers->heap, &timer->node);
        return;
    }
    ria_err err = ria_heap_push(&timers->heap, &timer->node);
    RIA_ASSERT(err == RIA_OK); /* out of memory: see the header */
    timer->active = true;
}

void ria_timer_stop(struct ria_timers *timers, struct ria_timer *timer)
{
    if (timer->active) {
        ria_heap_remove(&timers->heap, &timer->node);
        timer->active = false;
    }
}

int64_t ria_timers_run(struct ria_timers *timers)
{
    struct ria_timer *timer = timers_top(timers);

    if (timer == NULL) {
        return -1;
    }
    /* What a callback starts is left for the next run, even if it is due: a timer that restarts
     * itself with no delay must not keep us here for ever (the simulator's clock stands still). */
    uint64_t order_end = timers->order_next;
    int64_t now_us = ria_clock_mono_us(timers->clock);
    while (timer != NULL && timer->deadline_us <= now_us && timer->order < order_end) {
        ria_heap_remove(&timers->heap, &timer->node);
        timer->active = false;
        timer->fn(timer, timer->arg);
        timer = timers_top(timers);
    }
    return timer == NULL ? -1 : ria_max_i64(timer->deadline_us - now_us, 0);
}

int64_t ria_timers_next_us(const struct ria_timers *timers)
{
    const struct ria_timer *timer = timers_top(timers);

    return timer == NULL ? INT64_MAX : timer->deadline_us;
}
