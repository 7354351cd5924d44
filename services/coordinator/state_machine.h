/* state_machine: applies commands to meta.db. The same commands in the same order give the same
 * rows, on any machine, at any time.
 *
 * Commands: docs/design/003-coordinator-commands.md. Everything a command needs is in it (time,
 * ids, who is alive) or in the rows; nothing else is asked. A command that breaks a rule changes
 * nothing and its result says why: that is an ordinary result, and the log goes on.
 *
 * Between state_begin() and state_commit() nothing is durable; after state_commit() everything is,
 * the applied index included.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/err.h"
#include "common/limits.h"
#include "common/slice.h"
#include "common/uuid.h"

#include "schemas/gen/allocate_producer_ids_response.h"
#include "schemas/gen/alter_isr_response.h"
#include "schemas/gen/alter_node_response.h"
#include "schemas/gen/alter_rebalance_response.h"
#include "schemas/gen/alter_topic_response.h"
#include "schemas/gen/command.h"
#include "schemas/gen/commit_task_response.h"
#include "schemas/gen/create_topic_response.h"
#include "schemas/gen/create_transform_response.h"
#include "schemas/gen/delete_topic_response.h"
#include "schemas/gen/delete_transform_response.h"
#include "schemas/gen/elect_leader_response.h"
#include "schemas/gen/group_response.h"
#include "schemas/gen/messages.h"
#include "schemas/gen/reassign_partitions_response.h"
#include "schemas/gen/register_node_response.h"
#include "schemas/gen/report_replicas_response.h"
#include "schemas/gen/shutdown_node_response.h"

#include "services/coordinator/meta_db.h"

enum {
    COMMAND_ASSIGN_TASKS = 1000, /* kinds below are api keys */
    COMMAND_FENCE_NODES = 1001,
    COMMAND_ELECT_LEADERS = 1002,
    COMMAND_SWEEP_RANGES = 1003,

    /* Per cluster, so that a full Metadata page and a new epoch for all of a node's partitions fit
     * into one frame. Rejected: LIMIT. */
    STATE_PARTITIONS_MAX = 200000,
    STATE_TOPICS_MAX = 100000, /* deleted ones included: they stay as a word to storage */
    STATE_TRANSFORMS_MAX = 10000,
    STATE_PRODUCER_IDS_MAX = 1000, /* per command */

    STATE_MOVES_MAX = 1000, /* partitions that move at once, however they came to it */

    /* Encoded bytes of a command's body (schemas/records/Command.json). Rejected: TOO_LARGE. */
    STATE_BODY_MAX = 1024 * 1024,

    /* Bytes of a GroupResponse. An operation whose result does not fit: BUSY. */
    STATE_ANSWER_SIZE_MAX = 8 * 1024 * 1024,
};
_Static_assert(STATE_ANSWER_SIZE_MAX < RIA_FRAME_SIZE_MAX / 2, "a response fits into a frame");

/* What became of a command. Slices and arrays of the response stay valid until the next
 * state_begin(). */
struct command_result {
    ria_err err;
    int16_t kind;                      /* of the command, 0 if it could not be decoded */
    bool changed;                      /* the metadata version grew */
    uint32_t leader_changes;           /* partitions that got another leader, or lost theirs */
    uint32_t operations;               /* of a GroupRequest */
    uint32_t operations_refused;       /* among them */
    size_t kept_size;                  /* bytes that are kept for the response */
    char text[RIA_ERROR_TEXT_MAX + 1]; /* why, if err: names the field and the rule */
    union {
        struct register_node_response register_node;
        struct alter_isr_response alter_isr;
        struct create_topic_response create_topic;
        struct alter_topic_response alter_topic;
        struct delete_topic_response delete_topic;
        struct allocate_producer_ids_response allocate_producer_ids;
        struct create_transform_response create_transform;
        struct delete_transform_response delete_transform;
        struct commit_task_response commit_task;
        struct shutdown_node_response shutdown_node;
        struct report_replicas_response report_replicas;
        struct elect_leader_response elect_leader;
        struct reassign_partitions_response reassign_partitions;
        struct alter_node_response alter_node;
        struct alter_rebalance_response alter_rebalance;
        struct group_response group;
    } response; /* the one of the command's kind, if err == RIA_OK */
};

struct state_machine;

/* Borrows db. Errors: RIA_ERR_NOMEM. */
ria_err state_new(struct meta_db *db, struct state_machine **out_state) RIA_MUST_USE;
void state_free(struct state_machine *state);

/* ---- the log's side ---- */

void state_begin(struct state_machine *state);

/* index is one more than the last one. command is what state_encode_command() made. */
void state_apply(
    struct state_machine *state,
    int64_t index,
    struct ria_slice command,
    struct command_result *out_result
);

void state_commit(struct state_machine *state, int64_t index);

/* A consumer group that those who watch it should look at. */
struct state_woken {
    struct ria_slice name;
    int64_t changed; /* its change number, -1 = it is gone */
};

/* What the commands since the last state_begin() have woken, in order: the last word about a group
 * counts. Valid until the next state_begin(). */
const struct state_woken *state_woken(const struct state_machine *state, uint32_t *out_count);

/* ---- the proposer's side ---- */

/* Which requests are commands. */
bool state_is_command(int16_t api_key);

/* What the body of a command of this kind, which there is, looks like. */
const struct schema_message *state_command_schema(int16_t kind);

/* The bytes for the log: an int16 version and the encoded record. *out_bytes is the caller's to
 * free(). Errors: RIA_ERR_NOMEM, RIA_ERR_TOO_LARGE. */
ria_err state_encode_command(const struct command *command, uint8_t **out_bytes, size_t *out_size)
    RIA_MUST_USE;

/* ---- reading ---- */

struct state_summary {
    struct ria_uuid cluster_id;
    int64_t applied_index;
    int64_t version;
    int64_t lease_ms; /* the lease clock when it was last written */
};

/* False: a new database, without a cluster. */
bool state_summary(struct meta_db *db, struct state_summary *out_summary);

/* Make a new database the given cluster's, durably. */
void state_found_cluster(struct meta_db *db, const struct ria_uuid *cluster_id);
