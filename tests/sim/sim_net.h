/* sim_net: the network of a simulated cluster: struct ria_rpc over virtual time.
 *
 * It keeps the promises of common/rpc.h and has the bounds, deadlines and habits of common/net.c
 * (in-flight limit, redial, a connection that is only silent is given up). What it adds is trouble:
 * delays, blocked directions, connections that break and lose what is under way, requests that are
 * repeated. A frame arrives at most once, and frames of one connection in order. But what a process
 * sent before it died or gave a connection up may arrive later than what came over a newer one, as
 * it may with TCP.
 *
 * A host is a machine; it outlives the processes that run on it, one at a time.
 */
#pragma once

#include "common/base.h"
#include "common/rpc.h"
#include "common/timers.h"

#include "tests/sim/sim_wire.h"
#include "tests/sim/trace.h"

struct sim_net;

/* Borrows trace. Out of memory aborts. */
struct sim_net *sim_net_new(struct trace *trace, uint64_t seed);

/* Every process is buried. Accepts NULL. */
void sim_net_free(struct sim_net *net);

/* name and address are literals or live as long; address "" = does not listen. Borrows timers:
 * everything that reaches the host does so on them. Returns its number. */
uint32_t sim_net_add_host(
    struct sim_net *net, const char *name, const char *address, struct ria_timers *timers
);

/* ---- processes ---- */

/* A new process on the host, which has none. */
struct ria_rpc *sim_net_boot(struct sim_net *net, uint32_t host);

/* The host's process has no effect from now on: its calls go nowhere, its replies neither. With
 * power_cut nobody is told until the host boots again. Some of what it sent before is under way. */
void sim_net_kill(struct sim_net *net, uint32_t host, bool power_cut);

/* End the calls of a killed (or stopping) process with RIA_ERR_SHUTDOWN, as ria_net_stop() does. */
void sim_net_end_calls(struct sim_net *net, uint32_t host);

/* Its core has been freed: so is what it left. */
void sim_net_bury(struct sim_net *net, uint32_t host);

/* ---- trouble ---- */

/* Call fn(arg), once, when the host has sent `count` frames more; 0 = do not. The last one is on
 * its way. fn may kill the host. */
void sim_net_watch_sends(
    struct sim_net *net, uint32_t host, uint64_t count, void (*fn)(void *arg), void *arg
);

void sim_net_set_profile(struct sim_net *net, const struct sim_net_profile *profile);
void sim_net_block(struct sim_net *net, uint32_t from, uint32_t to, bool blocked);

/* What the host sends and gets takes this much longer. */
void sim_net_slow(struct sim_net *net, uint32_t host, int64_t extra_us);

/* One in so many requests that the host sends arrives a second time, up to some seconds later, at
 * whoever listens there then; 0 = none. Its answer goes nowhere. Not those that store a record anew
 * each time (a produce without a producer id): nobody repeats them unless he wants that. timers are
 * no process's: a copy outlives the one it was sent to. */
void sim_net_copy(struct sim_net *net, uint32_t host, uint32_t one_in, struct ria_timers *timers);

/* Break the connections between two hosts. silent: neither is told. */
void sim_net_reset(struct sim_net *net, uint32_t a, uint32_t b, bool silent);

/* Everything from here on arrives, soon; who still believes in a broken connection is told. */
void sim_net_heal(struct sim_net *net);
