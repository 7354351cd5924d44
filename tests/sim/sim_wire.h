/* sim_wire: machines and what lies between them: delays, and directions that carry nothing.
 *
 * A wire is one direction of a connection. Frames come out in the order they went in; while the way
 * is blocked they wait in it, as TCP's do. Nothing is lost here: what a broken connection loses is
 * up to its owner (sim_connection.c).
 */
#pragma once

#include "common/base.h"
#include "common/list.h"
#include "common/msg.h"
#include "common/rand.h"
#include "common/timers.h"

#include "tests/sim/trace.h"

enum { SIM_HOSTS_MAX = 32 };

/* How the network treats frames. Zeros: no delay, no trouble. */
struct sim_net_profile {
    int64_t latency_us_min;
    int64_t latency_us_max;
    uint32_t spike_one_in; /* a frame is late, and all behind it: 0 = never */
    int64_t spike_us_max;
    uint32_t reset_one_in; /* a frame breaks its connection: 0 = never */
    int64_t linger_us_max; /* what a connection that was given up still carries is later by this */
};

struct sim_fabric {
    struct trace *trace;
    struct ria_rand rand;
    struct sim_net_profile profile;
    uint32_t host_count;
    struct ria_timers *timers[SIM_HOSTS_MAX];   /* of the receiving host, on which frames arrive */
    int64_t extra_us[SIM_HOSTS_MAX];            /* delay of all it sends and gets */
    bool blocked[SIM_HOSTS_MAX][SIM_HOSTS_MAX]; /* [from][to] */
    struct ria_list wires;
};

typedef void (*sim_wire_fn)(void *arg, struct ria_msg *msg, uint64_t id);

struct sim_wire {
    struct sim_fabric *fabric;
    struct ria_list link; /* in fabric->wires */
    uint32_t from;
    uint32_t to;
    struct ria_list frames;
    struct ria_timer timer; /* active while the first frame is on its way */
    int64_t last_us;        /* when the last frame arrives */
    sim_wire_fn deliver;    /* takes msg */
    void *arg;
};

/* Borrows trace. */
void sim_fabric_init(struct sim_fabric *fabric, struct trace *trace, uint64_t seed);

/* Borrows timers. Returns its number. */
uint32_t sim_fabric_add_host(struct sim_fabric *fabric, struct ria_timers *timers);

void sim_fabric_block(struct sim_fabric *fabric, uint32_t from, uint32_t to, bool blocked);

/* Draws the delay of one frame. */
int64_t sim_fabric_latency(struct sim_fabric *fabric, uint32_t from, uint32_t to);

/* arg stays for the wire's life. */
void sim_wire_init(
    struct sim_wire *wire,
    struct sim_fabric *fabric,
    uint32_t from,
    uint32_t to,
    sim_wire_fn deliver,
    void *arg
);
void sim_wire_fini(struct sim_wire *wire);

/* Takes msg. */
void sim_wire_send(struct sim_wire *wire, struct ria_msg *msg, uint64_t id);

/* Lose all frames but the first `keep`. */
void sim_wire_cut(struct sim_wire *wire, size_t keep);

/* Let what is under way arrive later. */
void sim_wire_delay(struct sim_wire *wire, int64_t us);

size_t sim_wire_count(const struct sim_wire *wire);

/* A frame of that id is under way. */
bool sim_wire_carries(const struct sim_wire *wire, uint64_t id);
