/* consensus: puts commands into one order, makes them durable, and applies them.
 *
 * This is the seam where Raft goes in. A command is bytes; what it means is the machine's business.
 * The one implementation of today (consensus.c) is a cluster of one: a command is committed when
 * the machine's transaction is, many commands per transaction (whatever was proposed in one turn of
 * the loop, within the bounds below).
 *
 * What a Raft implementation (libraft's raft_step) adds behind the same functions:
 * - it writes the bytes to its own synced log and to the other voters first, and calls the machine
 *   for committed entries only, on every voter, in index order, with the same bytes;
 * - consensus_propose() answers RIA_ERR_NOT_LEADER on a follower; a proposal whose leader lost its
 *   office ends with RIA_ERR_UNKNOWN_OUTCOME unless it is known what became of it;
 * - a snapshot is meta.db itself, copied by SQLite's backup interface between two groups, with
 *   applied (index, term) inside; restoring one replaces the file before the machine is opened.
 * That needs two more functions in struct consensus_machine: snapshot (write a copy to a path,
 * called between groups) and restore (swap the file, reopen, tell the new applied index);
 * - entries of its own (configuration, barrier) take indexes the machine does not see: the machine
 *   may rely on growing indexes, not on dense ones.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/env.h"
#include "common/err.h"
#include "common/slice.h"

#include "services/coordinator/state_machine.h"

enum {
    /* Per transaction; the loop stands still for that long. */
    CONSENSUS_GROUP_MAX = 256,               /* commands... */
    CONSENSUS_GROUP_US = 20000,              /* ...of which the last one begins within this time */
    CONSENSUS_GROUP_SIZE = 16 * 1024 * 1024, /* ...and before results have taken so many bytes */

    CONSENSUS_PENDING_MAX = 16384, /* proposals without an answer. Rejected: BUSY */
};

/* The replicated state machine, as consensus sees it. Deterministic: begin, apply for each command
 * of a group, commit. When commit returns the group is durable. */
struct consensus_machine {
    void (*begin)(void *arg);
    void (*apply
    )(void *arg, int64_t index, struct ria_slice command, struct command_result *out_result);
    void (*commit)(void *arg, int64_t index);
    void *arg;
};

typedef enum consensus_role {
    CONSENSUS_LEADER,
    CONSENSUS_FOLLOWER,
    CONSENSUS_CANDIDATE,
} consensus_role;

/* err == RIA_OK: the command is committed and applied at index; result (borrowed for the call) says
 * what it did, which may be an error of its own. Else result is NULL and err is RIA_ERR_SHUTDOWN or
 * RIA_ERR_UNKNOWN_OUTCOME. */
typedef void (*consensus_done_fn
)(void *arg, ria_err err, int64_t index, const struct command_result *result);

struct consensus;

/* Borrows env; copies machine. applied_index is the machine's. Errors: RIA_ERR_NOMEM. */
ria_err consensus_new(
    const struct ria_env *env,
    const struct consensus_machine *machine,
    int64_t applied_index,
    struct consensus **out_consensus
) RIA_MUST_USE;

/* Proposals under way end with RIA_ERR_SHUTDOWN; they may or may not be applied later. Accepts
 * NULL. */
void consensus_free(struct consensus *consensus);

/* Take command (from malloc) on success. done runs exactly once, never from inside the call.
 * Errors, all definite: RIA_ERR_BUSY, RIA_ERR_NOT_LEADER, RIA_ERR_NOMEM. */
ria_err consensus_propose(
    struct consensus *consensus,
    uint8_t *command,
    size_t command_size,
    consensus_done_fn done,
    void *arg
) RIA_MUST_USE;

consensus_role consensus_get_role(const struct consensus *consensus);

/* Commit what was proposed, now: for shutdown. */
void consensus_flush(struct consensus *consensus);

struct consensus_stats {
    uint64_t commands;
    uint64_t groups;
    uint32_t pending;
};

void consensus_get_stats(const struct consensus *consensus, struct consensus_stats *out_stats);
