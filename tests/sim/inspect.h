/* inspect: looks into the storage nodes that are up, past the protocol: what only a simulator can
 * see. What it finds goes into the history.
 */
#pragma once

#include "common/base.h"

#include "services/coordinator/service.h"
#include "tests/sim/plan.h"

struct world;
struct sim_node;

/* How far each replica's committed records have been looked at. */
struct inspector {
    struct world *world;
    int64_t cursors[PLAN_NODES_MAX][PLAN_PARTITIONS_MAX];
    uint32_t boots[PLAN_NODES_MAX]; /* of the node when the cursors were set */
    int64_t version;                /* of the coordinator's metadata when last read */
    int64_t applied;                /* the coordinator's last command then */
    int64_t positions[PLAN_GROUPS_MAX * PLAN_PARTITIONS_MAX];
};

/* How far a source's log has been counted, by what its transform must pass on. */
struct inspect_count {
    uint32_t node; /* of whose log */
    int32_t epoch; /* of its leadership: until the next one nothing is cut */
    int64_t next;
    int64_t passing;
};

void inspector_init(struct inspector *inspector, struct world *world);

/* WATERMARK of the leaders, and STORED for what every replica newly has below its high watermark
 * (all of it again after a restart). Breaks these rules, as does whoever asks before the
 * coordinator dies:
 *   queue-ranges       what the coordinator knows of a queue's records holds together
 *                      (range_rows.h)
 *   groups             so does what it knows of groups: nothing is left of what is gone, leases
 *                      are of ids that were given
 */
void inspector_look(struct inspector *inspector);

/* The same instant on all nodes. Breaks these rules:
 *   commit-beyond-isr  every member of the in-sync set that the coordinator has committed has on
 *                      its disk all that is below a leader's high watermark
 *   epoch-back         the coordinator's epochs of a partition only grow
 * and adds POSITION of every group.
 */
void inspector_glance(struct inspector *inspector);

/* What the node has on disk: replicas' ends, or the coordinator's word. Called before it dies,
 * since all that stands while it is down. */
void inspect_note_durable(struct sim_node *node);

/* Where nobody leads, or is going to: the node id an operator would force, which has the newest log
 * of those that are whole. -1: somebody leads, or there is none. */
int32_t inspect_successor(const struct world *world, uint32_t partition);

/* Long after the faults. Breaks this rule:
 *   no-election        where nobody leads, no member of the in-sync set that the coordinator has
 *                      committed is up with a log that is whole: it should have been elected
 */
void inspect_check_elections(struct world *world);

/* What an operator did about one partition. */
struct inspect_forced {
    bool is_asked;
    int32_t epoch; /* that he was answered; -1: nothing was done, or the answer was lost */
};

/* NULL, or the rule that is broken if clients are told this newest forced epoch (-1 = none):
 *   forced-unasked     nobody is forced to lead but by an operator
 *   forced-unsaid      whom he forced is named: there records may be lost
 */
const char *inspect_judge_forced(const struct inspect_forced *forced, int32_t told_epoch);

/* The same for a partition, at the end. */
void inspect_check_forced(
    struct world *world, uint32_t partition, const struct inspect_forced *forced
);

/* The log end of the partition's leader; -1: there is none. */
int64_t inspect_leader_end(const struct world *world, uint32_t partition);

/* The derived topic has as many records as its source demands; *out_missing are not there, -1: a
 * log cannot be read. Whether they are the right ones is for the checker. counts: one for each
 * partition, all zero at first; what was counted once is not read again. */
bool inspect_is_derived(
    const struct world *world, uint32_t topic, struct inspect_count *counts, int64_t *out_missing
);

/* Every node is ready; every partition has a leader; its replicas all have the same end, which is
 * committed, and are in sync by the clients' metadata. */
bool inspect_is_whole(const struct world *world);

/* Damaged ranges that wait for repair, on all nodes that are up. */
int64_t inspect_count_holes(const struct world *world);

/* Say what is not (world_break). */
void inspect_report_stuck(struct world *world);

/* REPLICA and RECORD for every log. */
void inspect_record_logs(struct world *world);
