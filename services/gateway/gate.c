#include "services/gateway/gate.h"

#include <stdlib.h>

#include "common/assert.h"

#include "services/gateway/fetch_cache.h"

enum {
    GATE_SHARE = 2, /* reads get the budget's half */
    GATE_RETRY_US = 1000,
};

static bool has_memory(const struct budget *budget, size_t size)
{
    return budget->used.value == 0 || budget_has(budget, size);
}

/* A pass larger than the share goes alone. */
static bool has_room(const struct gate *gate, size_t size)
{
    const struct budget *budget = gate->budget;
    int64_t share = budget->limit / GATE_SHARE;

    if (budget->reads > 0 && budget->reads + (int64_t)size > share) {
        return false;
    }
    return has_memory(budget, size) ||
           (gate->cache != NULL && fetch_cache_clear(gate->cache) && has_memory(budget, size));
}

static struct gate_pass *first_of(const struct gate *gate)
{
    return ria_list_is_empty(&gate->waiting)
               ? NULL
               : RIA_CONTAINER(gate->waiting.next, struct gate_pass, link);
}

static void admit(struct gate *gate, struct gate_pass *pass)
{
    gate_resize(gate->budget, 0, pass->size);
    pass->fn(pass, true);
}

static void let_in(struct gate *gate)
{
    int64_t now_us = ria_clock_mono_us(gate->env->clock);
    struct gate_pass *pass;

    while ((pass = first_of(gate)) != NULL) {
        if (has_room(gate, pass->size)) {
            ria_list_remove(&pass->link);
            admit(gate, pass);
        } else if (pass->deadline_us <= now_us) {
            ria_list_remove(&pass->link);
            gate->budget->refused.value++;
            pass->fn(pass, false);
        } else {
            break;
        }
    }
    /* Room comes when an answer was sent, or a write is done: the budget tells nobody. */
    if (pass != NULL && !gate->retry.active) {
        ria_timer_start(gate->env->timers, &gate->retry, GATE_RETRY_US);
    }
}

static void retry_due(struct ria_timer *timer, void *arg)
{
    (void)timer;
    let_in(arg);
}

void gate_init(
    struct gate *gate, const struct ria_env *env, struct budget *budget, struct fetch_cache *cache
)
{
    *gate = (struct gate){.env = env, .budget = budget, .cache = cache};
    ria_list_init(&gate->waiting);
    ria_timer_init(&gate->retry, retry_due, gate);
}

void gate_fini(struct gate *gate)
{
    while (ria_list_pop_front(&gate->waiting) != NULL) {
    }
    ria_timer_stop(gate->env->timers, &gate->retry);
}

void gate_enter(struct gate *gate, struct gate_pass *pass)
{
    RIA_ASSERT(pass->fn != NULL);

    ria_list_init(&pass->link);
    if (ria_list_is_empty(&gate->waiting) && has_room(gate, pass->size)) {
        admit(gate, pass);
        return;
    }
    ria_list_push_back(&gate->waiting, &pass->link);
    if (!gate->retry.active) {
        ria_timer_start(gate->env->timers, &gate->retry, GATE_RETRY_US);
    }
}

void gate_leave(struct gate_pass *pass)
{
    ria_list_remove(&pass->link);
}

void gate_resize(struct budget *budget, size_t from, size_t to)
{
    budget->reads += (int64_t)to - (int64_t)from;
    RIA_ASSERT(budget->reads >= 0);
    budget_charge(budget, to);
    budget_give(budget, from);
}

/* What an answer is made of. */
struct held {
    struct budget *budget;
    size_t size;
    struct ria_msg *msg; /* one of the two */
    uint8_t *text;
};

static void release(void *owner)
{
    struct held *held = owner;

    gate_resize(held->budget, held->size, 0);
    ria_msg_free(held->msg);
    free(held->text);
    free(held);
}

bool gate_fill_response(
    struct response *response,
    struct budget *budget,
    struct ria_msg *msg,
    uint8_t *text,
    struct ria_slice data
)
{
    struct held *held = malloc(sizeof(*held));

    if (held == NULL) {
        gate_resize(budget, data.size, 0);
        ria_msg_free(msg);
        free(text);
        return false;
    }
    *held = (struct held){budget, data.size, msg, text};
    response->data = data.data;
    response->size = data.size;
    response->release = release;
    response->owner = held;
    response->is_charged = true;
    return true;
}
