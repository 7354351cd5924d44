#include "services/storage/parked.h"

#include <stdlib.h>

#include "common/assert.h"

void parked_set_init(
    struct parked_set *set, const struct ria_env *env, void (*on_ready)(void *arg), void *arg
)
{
    *set = (struct parked_set){.env = env, .on_ready = on_ready, .arg = arg};
    ria_list_init(&set->waiting);
    ria_list_init(&set->ready);
    for (size_t i = 0; i < PARKED_SESSION_KINDS; i++) {
        ria_map_init(&set->sessions[i]);
    }
}

void parked_set_fini(struct parked_set *set)
{
    RIA_ASSERT(set->count == 0);

    for (size_t i = 0; i < PARKED_SESSION_KINDS; i++) {
        ria_map_fini(&set->sessions[i]);
    }
}

ria_err parked_new(
    struct parked_set *set,
    struct ria_rpc_request *request,
    const struct request_header *header,
    uint32_t wait_capacity,
    struct parked **out_parked
)
{
    if (wait_capacity > PARKED_WAITS_MAX - set->wait_count) {
        return RIA_ERR_BUSY;
    }
    struct parked *parked = calloc(1, sizeof(*parked) + wait_capacity * sizeof(parked->waits[0]));
    if (parked == NULL) {
        return RIA_ERR_NOMEM;
    }
    ria_list_init(&parked->link);
    ria_list_init(&parked->woken);
    parked->set = set;
    parked->request = request;
    parked->header = *header;
    parked->wait_capacity = wait_capacity;
    set->count++;
    set->wait_count += wait_capacity;
    *out_parked = parked;
    return RIA_OK;
}

void parked_free(struct parked *parked)
{
    struct parked_set *set = parked->set;

    for (uint32_t i = 0; i < parked->wait_count; i++) {
        ria_list_remove(&parked->waits[i].link);
    }
    ria_list_remove(&parked->link);
    if (parked->resume != NULL) {
        ria_timer_stop(set->env->timers, &parked->timer);
    }
    if (parked->session != PARKED_NO_SESSION) {
        (void)ria_map_remove(
            &set->sessions[parked->session], &parked->session_id, sizeof(parked->session_id)
        );
    }
    RIA_ASSERT(set->count > 0 && set->wait_count >= parked->wait_capacity);
    set->count--;
    set->wait_count -= parked->wait_capacity;
    free(parked);
}

/* The list links of a parked request stay valid until parked_free(). */
static void resume(struct parked *parked, parked_end end)
{
    parked->resume(parked->set->arg, parked, end);
    parked_free(parked);
}

static void make_ready(struct parked *parked)
{
    struct parked_set *set = parked->set;

    ria_list_remove(&parked->link);
    ria_list_push_back(&set->ready, &parked->link);
    set->on_ready(set->arg);
}

static void wake(struct parked_wait *wait, ria_err err)
{
    struct parked *parked = wait->parked;

    ria_list_remove(&wait->link);
    wait->err = err;
    ria_list_push_back(&parked->woken, &wait->link);
    parked->woken_count++;
    if (parked->resume != NULL && parked->woken_count == parked->need) {
        make_ready(parked);
    }
}

struct parked_wait *
parked_add(struct parked *parked, struct ria_list *list, const struct partition_id *id)
{
    RIA_ASSERT(parked->wait_count < parked->wait_capacity);
    RIA_ASSERT(parked->resume == NULL);

    struct parked_wait *wait = &parked->waits[parked->wait_count++];
    wait->parked = parked;
    wait->id = *id;
    ria_list_init(&wait->link);
    if (list != NULL) {
        ria_list_push_back(list, &wait->link);
    } else {
        wake(wait, RIA_OK);
    }
    return wait;
}

static void on_expired(struct ria_timer *timer, void *arg)
{
    (void)timer;
    resume(arg, PARKED_EXPIRED);
}

void parked_start(
    struct parked *parked, uint32_t need, uint32_t wait_ms, parked_resume_fn resume_fn
)
{
    RIA_ASSERT(need > 0 && need <= parked->wait_count);
    RIA_ASSERT(parked->resume == NULL);

    parked->need = need;
    parked->resume = resume_fn;
    ria_list_push_back(&parked->set->waiting, &parked->link);
    ria_timer_init(&parked->timer, on_expired, parked);
    if (wait_ms > 0) {
        ria_timer_start(parked->set->env->timers, &parked->timer, (int64_t)wait_ms * 1000);
    }
    if (parked->woken_count >= need) {
        make_ready(parked);
    }
}

void parked_replace(struct parked_set *set, parked_session session, int64_t session_id)
{
    struct parked *older = ria_map_get(&set->sessions[session], &session_id, sizeof(session_id));

    if (older != NULL) {
        resume(older, PARKED_REPLACED);
    }
}

ria_err parked_join(struct parked *parked, parked_session session, int64_t session_id)
{
    RIA_ASSERT(session != PARKED_NO_SESSION);
    RIA_ASSERT(parked->session == PARKED_NO_SESSION);

    parked->session_id = session_id;
    RIA_TRY(ria_map_put(
        &parked->set->sessions[session], &parked->session_id, sizeof(parked->session_id), parked
    ));
    parked->session = session;
    return RIA_OK;
}

void parked_wake(struct ria_list *list, int64_t offset)
{
    RIA_LIST_FOREACH (node, list) {
        struct parked_wait *wait = RIA_CONTAINER(node, struct parked_wait, link);
        if (wait->offset < offset) {
            wake(wait, RIA_OK);
        }
    }
}

void parked_wake_all(struct ria_list *list, ria_err err)
{
    struct ria_list *node = NULL;

    while ((node = ria_list_pop_front(list)) != NULL) {
        wake(RIA_CONTAINER(node, struct parked_wait, link), err);
    }
}

void parked_flush(struct parked_set *set)
{
    while (!ria_list_is_empty(&set->ready)) {
        resume(RIA_CONTAINER(set->ready.next, struct parked, link), PARKED_READY);
    }
}

void parked_close(struct parked_set *set)
{
    parked_flush(set);
    while (!ria_list_is_empty(&set->waiting)) {
        resume(RIA_CONTAINER(set->waiting.next, struct parked, link), PARKED_CLOSED);
    }
    parked_flush(set);
}
