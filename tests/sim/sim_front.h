/* sim_front: a gateway in a simulated process: its core with a web server that takes its requests
 * from the simulated network (sim_http.h).
 */
#pragma once

#include "common/base.h"
#include "common/env.h"

#include "tests/sim/sim_http.h"

struct sim_front;

/* A socket has taken these bytes of the answer to a request, a stream. Returns how many of them it
 * does not want to see again with those that follow. */
typedef size_t (*sim_front_handed_fn
)(void *arg, const struct sim_http *request, struct ria_slice bytes);

/* Borrows env. Of its answers one in cut_one_in breaks off: the client gets none, the gateway knows
 * that it did not; 0 = never. From calm_us on sockets always have room. Out of memory aborts. */
struct sim_front *sim_front_new(
    const struct ria_env *env,
    const char *coordinator,
    uint32_t cut_one_in,
    int64_t calm_us,
    sim_front_handed_fn handed,
    void *arg
);

/* As a crash, or when it is idle. Accepts NULL. */
void sim_front_free(struct sim_front *front);

/* SIGTERM: no request is taken any more. */
void sim_front_stop(struct sim_front *front);

/* Every request has its answer. */
bool sim_front_is_idle(const struct sim_front *front);
