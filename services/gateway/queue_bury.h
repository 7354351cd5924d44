/* queue_bury: dead records of queues go to their dead-letter topics.
 *
 *   dead ranges (leased) -> topic made, if there is none -> read -> stored there -> "buried"
 *
 * Each record is stored as it is, with headers that say where from and why (docs/http.md), and is
 * finished only when the dead-letter topic has it: whatever fails or dies in between leaves the
 * lease to end, and whoever receives next, or is told that nobody does, does it again. So a record
 * is buried at least once; copies have the same riacho-dead-topic, -partition and -offset.
 *
 * Nobody waits for it. What is under way is bounded; past the bound ranges are left to the next
 * one. That it fails is logged once, until it succeeds again.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/list.h"
#include "common/slice.h"

#include "schemas/gen/queue_receive_result.h"

#include "services/shared/cluster.h"

enum { QUEUE_BURIALS_MAX = 16 };

struct gateway;
struct heartbeat_response;

struct queue_burials {
    struct gateway *gateway;
    struct ria_list live;
    uint32_t count;
    bool is_failing;
};

void queue_burials_init(struct queue_burials *burials, struct gateway *gateway);

/* Forgets those under way. */
void queue_burials_fini(struct queue_burials *burials);

/* result->dead. Everything is copied. */
void queue_bury(
    struct queue_burials *burials,
    struct ria_slice group,
    struct cluster_topic *topic,
    const struct queue_receive_result *result
);

/* The coordinator knows queues that nobody comes for (services/coordinator/overdue.c): look after
 * them. membership_answer_fn. */
void queue_bury_overdue(void *burials, const struct heartbeat_response *response);

/* Something may be dead now: take it on without waiting for a consumer. */
void queue_bury_sweep(
    struct queue_burials *burials, struct ria_slice group, struct cluster_topic *topic
);
