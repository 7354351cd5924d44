/* queue_names: the topics and groups that belong to a queue.
 *
 * Pure. Thread: any.
 */
#pragma once

#include "common/arena.h"
#include "common/base.h"
#include "common/slice.h"

/* Headers of a dead letter, in front of what each says (docs/http.md). */
#define DEAD_HEADER_PREFIX "riacho-dead-"

/* "{topic}.{group}.dead", if that can be a topic's name; else with other characters in place of
 * those that cannot, cut, and with a checksum of the whole. Null: no memory. */
struct ria_slice
queue_dead_topic(struct ria_arena *arena, const char *topic, struct ria_slice group);

/* The dead-letter topic of a queue over one topic, as its group's settings have it: empty = none,
 * an explicit name as it is (borrowed), QUEUE_DEAD_DEFAULT by queue_dead_topic(). Null: no memory.
 */
struct ria_slice queue_dead_resolve(
    struct ria_arena *arena, struct ria_slice setting, const char *topic, struct ria_slice group
);

/* The group that puts dead letters back: "{group}.redrive". Null: no memory. */
struct ria_slice queue_redrive_group(struct ria_arena *arena, struct ria_slice group);
