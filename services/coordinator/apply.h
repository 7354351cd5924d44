/* apply: what the commands' implementations share. Only for state_machine.c and apply_*.c.
 *
 * An implementation validates first and writes afterwards; whatever it wrote is undone if it
 * returns an error. It may look at the command, the rows and nothing else.
 */
#pragma once

#include "common/arena.h"
#include "common/base.h"
#include "common/err.h"

#include "schemas/gen/command.h"

#include "services/coordinator/meta_db.h"
#include "services/coordinator/node_set.h"
#include "services/coordinator/partition_row.h"
#include "services/coordinator/rows.h"
#include "services/coordinator/state_machine.h"

/* What a command adds to a node's counters. */
struct node_load {
    int64_t replicas;
    int64_t leaders;
};

struct apply {
    struct meta_db *db;
    const struct command *command;
    struct ria_arena *arena; /* for the command's duration */
    struct command_result *result;
    struct ria_uuid cluster_id;
    int64_t version;
    int64_t next_node_id;
    int64_t next_producer_id;
    struct node_load *loads;      /* by node id; NULL until the first one */
    struct ria_uuid config_topic; /* whose settings are known; zero = nobody's */
    int64_t min_insync;
    bool relaxed;
    struct ria_arena *scratch; /* for one operation of a GroupRequest */
    struct ria_arena *kept;    /* what outlives the command, until its group's replies are sent */
    struct rows *woken;        /* struct state_woken, in kept */
    size_t answer_size;        /* bytes of the response in kept */
};

/* The metadata version of this command's changes: one more than before, however often it is asked.
 */
int64_t apply_version(struct apply *apply);

/* Set the result's text and return err. */
ria_err apply_fail(struct apply *apply, ria_err err, const char *fmt, ...) RIA_PRINTF(3, 4);

/* RIA_ERR_INVALID, as "field is 0, must be 1..10". */
ria_err apply_check_range(
    struct apply *apply, const char *field, int64_t value, int64_t min, int64_t max
) RIA_MUST_USE;

/* RIA_ERR_INVALID if it is zero. */
ria_err
apply_check_id(struct apply *apply, const char *field, const struct ria_uuid *id) RIA_MUST_USE;

/* RIA_ERR_INVALID by the name rule, as "the name ..." */
ria_err apply_check_name(struct apply *apply, struct ria_slice name) RIA_MUST_USE;

/* Those who watch the consumer group are told after the commit: its change number is this now, -1 =
 * it is gone. Copies name. */
ria_err apply_wake_group(struct apply *apply, struct ria_slice name, int64_t changed) RIA_MUST_USE;

/* ---- topics, for more than one command ---- */

struct topic_row {
    struct ria_uuid id;
    int32_t partition_count;
    int16_t replication_factor;
    int64_t version;
};

/* False: there is none of this name. */
bool apply_find_topic(struct apply *apply, struct ria_slice name, struct topic_row *out_row);

struct topic_setting {
    struct ria_slice name;
    struct ria_slice value;
};

struct topic_spec {
    struct ria_uuid id;
    struct ria_slice name;
    int32_t first_partition; /* those before are there already */
    int32_t partition_count;
    int16_t replication_factor;
    const struct topic_setting *settings;
    uint32_t settings_count;
    const char *partition_count_field; /* names for error texts */
    const char *replication_factor_field;
};

/* Check everything that can be refused but the name and id, which the caller has checked, then
 * write topic, settings and placed partitions. */
ria_err apply_topic_create(struct apply *apply, const struct topic_spec *spec) RIA_MUST_USE;

/* RIA_ERR_LIMIT if the cluster may not have the partitions that are new. */
ria_err apply_check_room(struct apply *apply, const struct topic_spec *spec) RIA_MUST_USE;

/* Place every new partition of a topic on nodes that the command says are alive and write the rows.
 * RIA_ERR_NOT_ENOUGH_NODES. */
ria_err apply_place(struct apply *apply, const struct topic_spec *spec) RIA_MUST_USE;

/* Take a topic's partitions off the nodes' counters. */
ria_err apply_unplace(struct apply *apply, const struct ria_uuid *id) RIA_MUST_USE;

/* RIA_ERR_CONFLICT if the id is any topic's, deleted or not. */
ria_err apply_check_topic_id_is_new(
    struct apply *apply, const char *field, const struct ria_uuid *id
) RIA_MUST_USE;

/* RIA_ERR_EXISTS if the name is a topic's. */
ria_err apply_check_topic_name_is_new(struct apply *apply, struct ria_slice name) RIA_MUST_USE;

/* ---- nodes and partitions, for more than one command ---- */

struct node_state_row {
    int64_t incarnation;
    enum node_state state;
    bool draining;
    int64_t replica_count;
    int64_t leader_count;
    int32_t drain_epoch;
};

/* False: there is none. The counters are those before this command. */
bool apply_find_node(struct apply *apply, int32_t node_id, struct node_state_row *out_row);

ria_err
apply_set_node_state(struct apply *apply, int32_t node_id, enum node_state state) RIA_MUST_USE;

/* Nodes that the command says are alive and whose state is active: those that may lead. */
struct node_set apply_usable_nodes(struct apply *apply);

/* min.insync.replicas of a topic that is there; whether its durability is relaxed, or was. */
int64_t apply_min_insync(struct apply *apply, const struct ria_uuid *topic_id);
bool apply_is_relaxed(struct apply *apply, const struct ria_uuid *topic_id);

/* RIA_ERR_UNKNOWN_TOPIC, RIA_ERR_UNKNOWN_PARTITION. */
ria_err apply_get_partition(
    struct apply *apply,
    const struct ria_uuid *topic_id,
    int32_t partition,
    struct partition_row *out_row
) RIA_MUST_USE;

/* Write what differs between before, as it was read, and after, with the next partition epoch,
 * which after gets; the nodes' counters follow. Nothing if nothing differs. */
ria_err apply_put_partition(
    struct apply *apply, const struct partition_row *before, struct partition_row *after
) RIA_MUST_USE;

/* The same, with the next partition epoch also if nothing differs: what was proposed on the one
 * before is void. */
ria_err apply_renew_partition(
    struct apply *apply, const struct partition_row *before, struct partition_row *after
) RIA_MUST_USE;

/* The node's counters, written at the end of the command. */
ria_err apply_add_load(
    struct apply *apply, int32_t node_id, int64_t more_replicas, int64_t more_leaders
) RIA_MUST_USE;
ria_err apply_write_loads(struct apply *apply) RIA_MUST_USE;

/* Every partition without a leader gets one if somebody usable may lead it. */
ria_err apply_elect_leaderless(struct apply *apply, const struct node_set *usable) RIA_MUST_USE;

/* Who is in sync or fit has changed to what is written in row: end the partition's move if its
 * target is reached, as a change of its own, with a partition epoch of its own: the leader that
 * asked for the set goes on with that set under the epoch it is told. */
ria_err apply_moves_settle(struct apply *apply, const struct partition_row *row) RIA_MUST_USE;

/* ---- the commands; body is the decoded request ---- */

ria_err apply_register_node(struct apply *apply, const void *body) RIA_MUST_USE;
ria_err apply_alter_isr(struct apply *apply, const void *body) RIA_MUST_USE;
ria_err apply_create_topic(struct apply *apply, const void *body) RIA_MUST_USE;
ria_err apply_alter_topic(struct apply *apply, const void *body) RIA_MUST_USE;
ria_err apply_delete_topic(struct apply *apply, const void *body) RIA_MUST_USE;
ria_err apply_allocate_producer_ids(struct apply *apply, const void *body) RIA_MUST_USE;
ria_err apply_create_transform(struct apply *apply, const void *body) RIA_MUST_USE;
ria_err apply_delete_transform(struct apply *apply, const void *body) RIA_MUST_USE;
ria_err apply_commit_task(struct apply *apply, const void *body) RIA_MUST_USE;
ria_err apply_assign_tasks(struct apply *apply, const void *body) RIA_MUST_USE;
ria_err apply_fence_nodes(struct apply *apply, const void *body) RIA_MUST_USE;
ria_err apply_elect_leaders(struct apply *apply, const void *body) RIA_MUST_USE;
ria_err apply_elect_leader(struct apply *apply, const void *body) RIA_MUST_USE;
ria_err apply_shutdown_node(struct apply *apply, const void *body) RIA_MUST_USE;
ria_err apply_report_replicas(struct apply *apply, const void *body) RIA_MUST_USE;
ria_err apply_reassign_partitions(struct apply *apply, const void *body) RIA_MUST_USE;
ria_err apply_alter_node(struct apply *apply, const void *body) RIA_MUST_USE;
ria_err apply_alter_rebalance(struct apply *apply, const void *body) RIA_MUST_USE;
ria_err apply_group(struct apply *apply, const void *body) RIA_MUST_USE;
ria_err apply_sweep_ranges(struct apply *apply, const void *body) RIA_MUST_USE;
