/* partition: one replica's part in the replication protocol, on top of its log.
 *
 * Protocol: services/storage/README.md. A replica leads or follows under a leader epoch, which only
 * grows. The leader appends, learns from reports how far its followers are on disk and commits:
 *
 *   high watermark = min over the in-sync set (the leader included) of the synced end offset
 *
 * It never goes back within an epoch, and stands still while the in-sync set is smaller than
 * min.insync.replicas (KIP-966). A proposed larger in-sync set counts from the moment it is
 * proposed, a proposed smaller one only when the coordinator has agreed (KIP-497, "maximal ISR").
 *
 * A follower takes batches only under the epoch it was prepared for: prepare cuts off what its log
 * does not share with the leader's, and fences every older epoch.
 *
 * A pure state machine over env->clock and the log: what follows for the rest of the service goes
 * through struct partition_host. Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/env.h"
#include "common/limits.h"
#include "common/list.h"
#include "common/uuid.h"

#include "services/shared/cluster.h"
#include "services/storage/disk_space.h"
#include "services/storage/partition_log.h"

enum {
    /* Produces of one partition that wait for their commit. Rejected: BUSY. The gateway keeps a
     * handful in flight, so this only bounds a crowd of direct producers. */
    PARTITION_ACKS_MAX = 4096,
    PARTITION_ISR_RETRY_MS = 500, /* between two attempts to change the in-sync set */
};

typedef enum partition_role {
    PARTITION_IDLE, /* assigned to nobody here, or no leader known */
    PARTITION_FOLLOWER,
    PARTITION_LEADER,
} partition_role;

/* A partition's name, as the bytes maps are keyed by. */
struct partition_id {
    struct ria_uuid topic_id;
    uint8_t number[4]; /* big endian, as in the lease hash of the replication workers */
};
_Static_assert(sizeof(struct partition_id) == 20, "a key has no padding");

struct partition_id partition_id_of(const struct ria_uuid *topic_id, int32_t number);
int32_t partition_id_number(const struct partition_id *id);

/* A produce that was appended and waits for its commit. Embedded by the owner. */
struct partition_ack {
    struct ria_list link; /* in the partition's list, by last_offset */
    int64_t base_offset;  /* -1: a duplicate from so long ago that its offset is forgotten */
    int64_t last_offset;  /* committed when the high watermark is past it */
    int64_t deadline_us;
    bool duplicate; /* it was in the log before */
};

/* One replica as its leader sees it. */
struct partition_replica {
    int32_t node_id;
    int64_t incarnation;  /* of the process that said so: one that was started anew may have less */
    int64_t end_offset;   /* synced, reported under this epoch; -1 = not heard of */
    int64_t caught_up_us; /* latest moment for which it is known to have had all the leader had */
    int64_t target_offset; /* the leader's log end at target_us */
    int64_t target_us;
};

struct partition;

/* What the service does for a partition. None of them may call back into it, but propose. */
struct partition_host {
    /* ack has left the list: RIA_OK = committed, RIA_ERR_TIMEOUT, RIA_ERR_IO,
     * RIA_ERR_UNKNOWN_OUTCOME. The host takes it. */
    void (*ack)(struct partition *p, struct partition_ack *ack, ria_err err);
    /* The high watermark has grown. */
    void (*committed)(struct partition *p);
    /* Role or epoch has changed: whoever waits here must look again. */
    void (*moved)(struct partition *p);
    /* May a batch be appended, as far as the disk is concerned? Its bytes count as written if so.
     */
    bool (*take_space)(struct partition *p, disk_space_user user, size_t size);
    /* Is the coordinator there, and is there room for another proposal? */
    bool (*may_propose)(struct partition *p);
    /* Would the coordinator take this node into an in-sync set, as far as is known here? One that
     * is fenced would have the whole proposal refused, and with it the others'. The host comes back
     * with want_tick when the answer changes. */
    bool (*may_join)(struct partition *p, int32_t node_id);
    /* Is this the node's newest incarnation, as far as is known here? */
    bool (*is_current)(struct partition *p, int32_t node_id, int64_t incarnation);
    /* partition_proposal() is to be sent as AlterIsr; partition_isr_done() must follow, from
     * inside only if nothing was sent. */
    void (*propose)(struct partition *p);
    /* partition_tick() is wanted until it returns false. */
    void (*want_tick)(struct partition *p);
};

struct partition {
    const struct ria_env *env;
    const struct partition_host *host;
    struct partition_id id;
    int32_t node_id;           /* this node */
    struct partition_log *log; /* NULL until partition_attach_log() */
    struct topic_config config;
    int32_t config_epoch;        /* of config, by the metadata; -1 = none yet */
    bool was_relaxed;            /* the topic's durability was relaxed before */
    int32_t leader_config_epoch; /* follower: newest the leader said it acts by; -1 = none yet */

    partition_role role;
    int32_t leader_epoch;    /* newest known, by metadata, prepare or the log; -1 = none */
    int32_t opened_epoch;    /* by the first metadata after the log was opened; -1 = none yet */
    int32_t prepared_epoch;  /* follower: batches are taken under this one; -1 = none */
    int32_t partition_epoch; /* of isr; -1 = none */
    int32_t metadata_epoch;  /* newest leader epoch the metadata told of; -1 = none */
    int32_t forced_epoch;    /* newest that began with a forced leader; -1 = none */
    int64_t high_watermark;

    /* Leader only. Sets are bits over replicas[]. */
    int64_t epoch_start_offset; /* log end when this epoch began here */
    int64_t relaxed_end_offset; /* below it, records may not be on every disk, whatever the topic
                                   promises now; 0 = all of them are */
    struct partition_replica *replicas;
    uint32_t replica_count;
    uint32_t self_bit;     /* this node */
    uint32_t isr;          /* agreed with the coordinator */
    uint32_t unfit;        /* failed or damaged, by their own word to the coordinator */
    uint32_t proposed;     /* under way to the coordinator; 0 = none */
    bool proposal_in_call; /* an AlterIsr has not ended */
    bool proposal_unknown; /* one ended without a clear answer: it may have been applied */
    bool withdrawing;      /* and was refused when it was sent again: isr itself is proposed now */
    int64_t isr_retry_us;  /* no proposal before */
    struct ria_list acks;  /* partition_ack.link */
    uint32_t ack_count;
};

void partition_init(
    struct partition *p,
    const struct ria_env *env,
    const struct partition_host *host,
    const struct partition_id *id,
    int32_t node_id
);

/* What a leader that acknowledges this offset may say: that it is on the in-sync replicas' disks.
 */
static inline bool partition_is_synced(const struct partition *p, int64_t offset)
{
    return p->config.durability == TOPIC_DURABILITY_SYNCED && offset >= p->relaxed_end_offset;
}

/* The log stays the caller's to close. Every ack must have ended. */
void partition_fini(struct partition *p);

/* A new leader knows a high watermark, from its checkpoint or its predecessor, that may be older
 * than what was acknowledged. It is settled once the high watermark has reached the end its log had
 * when its epoch began (KIP-207): whoever led before committed nothing past that. Only then may it
 * say what the high watermark is, or readers would see it move back. */
static inline bool partition_is_settled(const struct partition *p)
{
    return p->high_watermark >= p->epoch_start_offset;
}

#define PARTITION_NOT_SETTLED INT64_C(-1)

/* What a reader may be told of it: PARTITION_NOT_SETTLED as long as the leader is not. */
static inline int64_t partition_told_high_watermark(const struct partition *p)
{
    return partition_is_settled(p) ? p->high_watermark : PARTITION_NOT_SETTLED;
}

/* Borrows log, whose on_synced must lead to partition_on_synced(). high_watermark comes from the
 * checkpoint and is clamped to the log. Before any other call but init. */
void partition_attach_log(struct partition *p, struct partition_log *log, int64_t high_watermark);

/* What the log's last batch says; -1: there is none. */
int32_t partition_last_epoch(const struct partition *p);

/* The log's last batch says an epoch that is newer than any known here: a flipped bit, or the word
 * of a coordinator that was set back. It is no proof (partition_log_sure_epoch()) and nobody is
 * fenced by it, but the replica does not begin to lead before it was compared with the others. */
bool partition_has_impossible_epoch(const struct partition *p);

/* ---- roles ---- */

/* What the coordinator says; older than what is known changes nothing. A replica whose log is
 * failed or damaged does not begin to lead, whatever the coordinator does not know yet (a damaged
 * one does if an operator forced it, once its log is quiet: apply again). Errors: RIA_ERR_NOMEM. */
ria_err partition_apply(struct partition *p, const struct cluster_partition *assigned) RIA_MUST_USE;

/* It is to lead, but the end of its log is doubted (partition_log_tail_is_doubted()): first the
 * other replicas are asked for it (tails.h), then partition_apply() again. */
bool partition_waits_for_tail(const struct partition *p, const struct cluster_partition *assigned);

/* The topic's settings, which may have changed. partition_apply() does it, too. */
void partition_configure(struct partition *p, const struct cluster_topic *topic);

/* Not assigned to this node any more: acks end with UNKNOWN_OUTCOME, nothing is accepted. */
void partition_resign(struct partition *p);

#define PARTITION_ANY_EPOCH INT32_MIN

/* May this node act as the leader for a sender with that epoch (or PARTITION_ANY_EPOCH)?
 * Errors: RIA_ERR_NOT_LEADER, RIA_ERR_FENCED_EPOCH, RIA_ERR_UNKNOWN_EPOCH. */
ria_err partition_check_leader(const struct partition *p, int32_t leader_epoch) RIA_MUST_USE;

/* ---- leader ---- */

struct partition_produce {
    uint8_t *batch; /* patched in place */
    size_t size;
    int32_t leader_epoch;
    int64_t producer_last_offset; /* -2: not compared; -1: none; see ProduceRequest */
};

/* Append one batch of a producer. On RIA_OK ack (base_offset, last_offset, duplicate filled; the
 * caller set deadline_us) waits, and *out_appended says whether anything was written: then
 * partition_log_sync() is due. A duplicate that is committed already ends at once (host->ack).
 * Errors (nothing waits): those of partition_check_leader(), RIA_ERR_NOT_ENOUGH_REPLICAS,
 * RIA_ERR_BUSY, RIA_ERR_CONFLICT, RIA_ERR_NO_SPACE, those of batch_validate(),
 * partition_log_check_producer() and partition_log_append(). *out_reason is static text for a
 * person. */
ria_err partition_produce(
    struct partition *p,
    const struct partition_produce *produce,
    struct partition_ack *ack,
    bool *out_appended,
    const char **out_reason
) RIA_MUST_USE;

/* A follower is on disk up to end_offset. A smaller one than before is an old report.
 * Errors: those of partition_check_leader() (RIA_ERR_UNKNOWN_EPOCH also for an incarnation that is
 * not the newest known), RIA_ERR_INVALID (no replica), RIA_ERR_CONFLICT (past
 * the leader's end). */
ria_err partition_report(
    struct partition *p,
    int32_t leader_epoch,
    int32_t node_id,
    int64_t incarnation,
    int64_t end_offset
) RIA_MUST_USE;

/* Recompute the high watermark. Called after whatever may have moved it. */
void partition_advance(struct partition *p);

/* The log's on_synced. */
void partition_on_synced(struct partition *p, ria_err err);

/* Deadlines of acks, followers that lag, proposals. False: no tick is needed until want_tick. */
bool partition_tick(struct partition *p);

/* Node ids of the set to be sent; returns their number. */
uint32_t partition_proposal(const struct partition *p, int32_t out_isr[RIA_REPLICAS_MAX]);

/* AlterIsr, sent under these epochs, has ended. */
void partition_isr_done(
    struct partition *p,
    int32_t leader_epoch,
    int32_t partition_epoch,
    ria_err err,
    int32_t new_partition_epoch
);

uint32_t partition_isr_count(const struct partition *p);

/* ---- follower ---- */

/* First half of a prepare: from now on nothing is accepted under an older epoch, nor under this one
 * until partition_prepare(). Errors: RIA_ERR_FENCED_EPOCH, RIA_ERR_INVALID (it leads this epoch),
 * RIA_ERR_IO, RIA_ERR_CORRUPT (the log takes no appends). */
ria_err partition_fence(struct partition *p, int32_t leader_epoch) RIA_MUST_USE;

struct partition_history {
    const struct leader_epoch_entry *epochs;
    uint32_t epoch_count;
    int64_t log_start_offset;
    int64_t end_offset;
};

/* Second half, when no sync is under way: cut what the leader's history does not have. *out_end is
 * the log end, all of it on disk. Errors: RIA_ERR_FENCED_EPOCH (a newer epoch came between),
 * RIA_ERR_CONFLICT (committed records would go: refused unless durability=relaxed, or an operator
 * forced a leader since this log was last written or prepared), RIA_ERR_UNKNOWN_EPOCH (they would
 * go, and the metadata that could allow it has not come yet), those of the log. */
ria_err partition_prepare(
    struct partition *p,
    int32_t leader_epoch,
    const struct partition_history *leader,
    int64_t *out_end
) RIA_MUST_USE;

/* Follower: the settings that the leader of that epoch acts by. A follower answers out of its page
 * cache only while it knows the same settings as its leader, and they allow it: else a record would
 * be acknowledged as synced that is not. Before partition_replica_append(). */
void partition_note_leader_config(struct partition *p, int32_t leader_epoch, int32_t config_epoch);

/* Whole batches that followed this log's end once, of another replica; it waits for its tail.
 * Errors: RIA_ERR_CONFLICT (does not join, or of this epoch), RIA_ERR_NO_SPACE, those of the log.
 */
ria_err partition_take_tail(struct partition *p, struct ria_slice batches) RIA_MUST_USE;

/* Batches from the leader (batches.size may be 0: only the high watermark). *out_end is the log
 * end: the append counts when it is synced up to there. Errors: RIA_ERR_FENCED_EPOCH,
 * RIA_ERR_UNKNOWN_EPOCH (not prepared), RIA_ERR_CONFLICT (does not join), RIA_ERR_NO_SPACE, those
 * of the log. */
ria_err partition_replica_append(
    struct partition *p,
    int32_t leader_epoch,
    int64_t base_offset,
    int64_t high_watermark,
    struct ria_slice batches,
    int64_t *out_end
) RIA_MUST_USE;

/* Invariants; aborts on a broken one. */
void partition_check(const struct partition *p);

/* ---- between partition*.c ---- */

/* This log agrees with a leader of that epoch. If one was forced not after it, that gives nobody a
 * right to cut this log any more. Errors: those of partition_log_settle_forced(). */
ria_err partition_settle_forced(struct partition *p, int32_t leader_epoch) RIA_MUST_USE;

/* Stop leading, if it does, and take a role that does not. */
void partition_follow(struct partition *p, int32_t leader_epoch, partition_role role);

/* End every ack with err / those below the high watermark / those whose time is over. */
void partition_end_acks(struct partition *p, ria_err err);
void partition_release_acks(struct partition *p);
void partition_expire_acks(struct partition *p, int64_t now_us);

/* The batch that was just appended began at old_end. */
void partition_isr_appended(struct partition *p, int64_t old_end);

/* Forget what was known of the followers: a new epoch begins. */
void partition_isr_begin(struct partition *p);

/* Take over replicas and in-sync set. Errors: RIA_ERR_NOMEM. */
ria_err
partition_isr_assign(struct partition *p, const struct cluster_partition *assigned) RIA_MUST_USE;

/* Whatever is under way does not count. */
void partition_isr_forget_proposal(struct partition *p);

/* Propose another in-sync set if it should be another. True: ticks are needed. */
bool partition_isr_review(struct partition *p);

struct partition_replica *partition_isr_find(struct partition *p, int32_t node_id);

/* Somebody of this incarnation reports. What another one said is forgotten; false: not while that
 * is the newest that is known here, be it that this one is older or the metadata is late. */
bool partition_isr_note_incarnation(
    struct partition *p, struct partition_replica *replica, int64_t incarnation
);
