#include "services/gateway/commit_check.h"

enum {
    COMMIT_CHECK_MS = 2000,
    AGAIN_US = 100 * 1000,
    PROBE_TIMEOUT_MS = 1000,
};

static void ask(struct commit_check *check);

static void finish(struct commit_check *check, const struct marks_at *beyond)
{
    ria_list_remove(&check->link);
    check->done(check, beyond);
}

static void again_due(struct ria_timer *timer, void *arg)
{
    (void)timer;
    ask(arg);
}

/* Those that are in range go from the list. */
static void drop_known(struct commit_check *check)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < check->count; i++) {
        struct marks_at at = check->at[i];
        if (at.offset >= 0 && marks_get(check->marks, at.partition) <= at.offset) {
            check->at[kept++] = at;
        }
    }
    check->count = kept;
}

static void probed(struct marks_probe *probe)
{
    struct commit_check *check = probe->arg;
    const struct ria_env *env = check->marks->env;

    drop_known(check);
    if (check->count > 0 && ria_clock_mono_us(env->clock) < check->until_us) {
        ria_timer_start(env->timers, &check->again, AGAIN_US);
    } else {
        finish(check, check->count > 0 && probe->complete ? &check->at[0] : NULL);
    }
}

static void ask(struct commit_check *check)
{
    check->probe = (struct marks_probe){
        .at = check->at,
        .count = check->count,
        .timeout_ms = PROBE_TIMEOUT_MS,
        .done = probed,
        .arg = check,
    };
    if (!marks_probe_start(check->marks, &check->probe)) {
        finish(check, NULL);
    }
}

void commit_check_start(struct commit_check *check)
{
    const struct ria_env *env = check->marks->env;

    check->until_us = ria_clock_mono_us(env->clock) + COMMIT_CHECK_MS * 1000;
    ria_timer_init(&check->again, again_due, check);
    ria_list_push_back(&check->marks->checks, &check->link);
    drop_known(check);
    if (check->count == 0) {
        finish(check, NULL);
    } else {
        ask(check);
    }
}

void commit_checks_fini(struct marks *marks)
{
    struct ria_list *link;

    while ((link = ria_list_pop_front(&marks->checks)) != NULL) {
        ria_timer_stop(marks->env->timers, &RIA_CONTAINER(link, struct commit_check, link)->again);
    }
}
