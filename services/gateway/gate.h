/* gate: reads wait here for memory instead of failing.
 *
 * A fetch may bring as many bytes as its client allows, so that many are charged before it is sent;
 * then as many as came, until the answer was sent. When a record comes that a thousand clients wait
 * for, they pass the gate one after the other, in order. Reads have a share of the budget: clients
 * that take their answers slowly keep other readers waiting, but nobody from writing.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/env.h"
#include "common/list.h"
#include "common/msg.h"
#include "common/timers.h"

#include "services/gateway/budget.h"
#include "services/gateway/request.h"

struct fetch_cache;

struct gate {
    const struct ria_env *env;
    struct budget *budget;
    struct fetch_cache *cache; /* given up before anybody waits; NULL: none */
    struct ria_list waiting;   /* oldest first */
    struct ria_timer retry;
};

/* Storage is the caller's until fn runs. */
struct gate_pass {
    /* the caller's */
    size_t size;
    int64_t deadline_us;
    void (*fn)(struct gate_pass *pass, bool may_enter);
    void *arg;
    /* private */
    struct ria_list link;
};

/* Borrows cache. */
void gate_init(
    struct gate *gate, const struct ria_env *env, struct budget *budget, struct fetch_cache *cache
);

/* Forgets those who wait. */
void gate_fini(struct gate *gate);

/* fn runs at once, from inside, if there is room; else later: with may_enter when there is, without
 * at the deadline. */
void gate_enter(struct gate *gate, struct gate_pass *pass);

/* fn will not run. No-op if it has. */
void gate_leave(struct gate_pass *pass);

/* Makes data, a part of msg or text (the other is NULL), the body of a response. Takes both, and
 * the data.size bytes of the budget that the read holds, until the answer was sent. False: no
 * memory, and all is freed and given back. */
bool gate_fill_response(
    struct response *response,
    struct budget *budget,
    struct ria_msg *msg,
    uint8_t *text,
    struct ria_slice data
) RIA_MUST_USE;

/* Whoever entered has so many bytes now, 0 at last. Needs no gate, which may be gone by then. */
void gate_resize(struct budget *budget, size_t from, size_t to);
