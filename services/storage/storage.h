/* storage: what the files of the service share. Included by them only; others see service.h.
 *
 * One event (a request, a sync that ended, a timer) changes state at once but answers late: what it
 * touched is noted, and storage_flush() runs when the turn's events are through (a timer of zero
 * delay). A flush answers the replication workers first, so that followers write while this node
 * syncs, and then starts one sync per log that was written, whatever number of batches it got.
 */
#pragma once

#include "common/arena.h"
#include "common/base.h"
#include "common/env.h"
#include "common/list.h"
#include "common/map.h"
#include "common/timers.h"

#include "schemas/envelope.h"

#include "services/shared/cluster.h"
#include "services/shared/confirm.h"
#include "services/shared/membership.h"
#include "services/storage/data_dirs.h"
#include "services/storage/doubts.h"
#include "services/storage/fetch_sessions.h"
#include "services/storage/fitness.h"
#include "services/storage/identity.h"
#include "services/storage/metrics.h"
#include "services/storage/parked.h"
#include "services/storage/partition.h"
#include "services/storage/repair.h"
#include "services/storage/scrub.h"
#include "services/storage/segment_cache.h"
#include "services/storage/service.h"
#include "services/storage/tails.h"

enum {
    STORAGE_TICK_MS = 100,          /* deadlines of produces, lag of followers */
    STORAGE_RELAXED_SYNC_MS = 1000, /* durability=relaxed: a crash of the machine costs this much */
    STORAGE_CHECKPOINT_MS = 1000,

    STORAGE_OPEN_SLICE_MS = 20,      /* opening replicas: the loop is free again after this */
    STORAGE_OPEN_RETRY_MS = 5000,    /* a replica that could not be opened (disk full, ...) */
    STORAGE_ISR_CALLS_MAX = 128,     /* AlterIsr calls under way; more partitions wait for a tick */
    STORAGE_ISR_CALL_MS = 2000,      /* deadline of one */
    STORAGE_PRODUCE_WAIT_MS = 30000, /* of a produce that gives no deadline */
    STORAGE_DRAIN_MS = 2000,         /* stop: for produces that wait */
    STORAGE_DRAIN_STEP_MS = 10,

    /* Produces that wait for their commit, in all: their number, and the bytes of their frames,
     * which stay in memory until they are answered. Rejected: BUSY. */
    STORAGE_ACKS_MAX = 65536,
    STORAGE_ACK_BYTES_MAX = 64 * 1024 * 1024,

    /* ReplicaReports whose reply waits for this node's own sync; see handle_replica_leader.c. Past
     * it they are answered at once: they share their connection's slots with more urgent calls. */
    STORAGE_PARKED_REPORTS_MAX = 16,
    STORAGE_REPORT_WAIT_MS = 1000,

    /* Bytes decoded from one request. Larger: refused. */
    STORAGE_ARENA_MAX = 32 * 1024 * 1024,
};

typedef enum replica_state {
    REPLICA_OPENING,  /* in storage.opening */
    REPLICA_OPEN,     /* partition.log is there */
    REPLICA_FAILED,   /* could not be opened; why is in open_err */
    REPLICA_REMOVING, /* its topic was deleted, or this node dropped from the partition; in
                         storage.removing until its log is quiet */
} replica_state;

/* Lists of parked waits of one partition. */
typedef enum replica_wait {
    REPLICA_COMMITTED, /* high watermark > offset: Fetch, Watch */
    REPLICA_WRITTEN,   /* log end > offset, and its sync has been begun: Watch */
    REPLICA_APPENDED,  /* log end > offset: fetch_wish.link, not parked_wait.link */
    REPLICA_SYNCED,    /* synced end > offset: ReplicaAppend */
    REPLICA_QUIET,     /* no sync under way: ReplicaPrepare */
    REPLICA_WAITS,
} replica_wait;

/* One partition's replica on this node. */
struct replica {
    struct partition partition;
    struct storage *storage;
    replica_state state;
    struct data_dir *dir; /* NULL: not known yet */
    int32_t mark_slot;    /* in dir->marks */
    bool lost; /* if it is found nowhere, it was in a folder that is missing or was given up */
    ria_err open_err;
    int64_t retry_us; /* FAILED: not opened again before */
    bool refusal_logged;
    bool failure_noted;           /* that its log has failed */
    int64_t told_high_watermark;  /* newest that went out in a reply to a replication worker */
    struct ria_list link;         /* in storage.replicas */
    struct ria_list queue_link;   /* in storage.opening or storage.removing */
    struct ria_list dirty_link;   /* in storage.dirty */
    struct ria_list relaxed_link; /* in storage.relaxed */
    struct ria_list tick_link;    /* in storage.ticking */
    struct ria_list changed_link; /* in storage.changed */
    fitness_state fitness_told;   /* what the coordinator acknowledged last */
    struct ria_list fitness_link; /* in fitness.pending */
    struct ria_list repair_link;  /* in repairs.queue */
    int64_t repair_us;            /* not repaired before */
    uint32_t repair_failures;     /* since the last one that ended well */
    uint32_t repair_finds;        /* the same: of more damage, which is no failure */
    ria_err repair_err;           /* last one logged */
    ria_err repair_peer_err;      /* what the last peer said */
    struct ria_list doubt_link;   /* in doubts.queue */
    int64_t doubt_us;             /* not asked about before */
    uint32_t doubt_failures;      /* since the last answer */
    struct tail *tail;            /* NULL: others are not being asked for the end of its log */
    struct ria_list waits[REPLICA_WAITS];
};

struct registration;
struct handover;

struct storage {
    const struct ria_env *env;
    storage_fatal_fn on_fatal;
    void *fatal_arg;
    bool is_fatal; /* on_fatal was called */

    char *data_dir; /* the option's text, for messages */
    char *rack;
    char *address;
    struct data_dirs dirs;
    struct identity identity;
    int64_t incarnation;
    struct segment_cache *cache;

    struct cluster *cluster;
    struct membership *membership;
    struct ria_timer register_timer;
    uint32_t register_delay_ms;
    ria_err register_err;              /* last one logged */
    struct registration *registration; /* NULL: no call is under way */
    bool registered;
    bool scanned; /* the data folder was searched for orphans */
    struct ria_list orphans;
    bool ready_logged;

    struct ria_map by_id; /* partition_id -> replica */
    struct ria_list replicas;
    struct ria_list opening;
    struct ria_list removing;
    struct ria_list dirty;   /* written in this turn */
    struct ria_list relaxed; /* written, to be synced when the interval is over */
    struct ria_list ticking;
    struct ria_list changed; /* to be brought up to date in the checkpoint */
    struct fitness *fitness;
    struct repairs *repairs;
    struct doubts *doubts;
    struct tails *tails;
    struct scrub *scrub;
    struct parked_set parked;
    struct fetch_sessions fetch_sessions;
    struct ria_list prepares; /* handle_replica_follower.c: struct prepare_job */

    struct ria_timer flush_timer;
    struct ria_timer tick_timer;
    struct ria_timer relaxed_timer;
    struct ria_timer open_timer;
    struct ria_timer checkpoint_timer;
    struct ria_timer drain_timer;
    struct ria_timer prepare_timer;

    struct ria_arena arena;    /* of the request being handled */
    struct ria_list proposals; /* AlterIsr calls under way */
    uint32_t isr_calls;
    uint32_t parked_reports;
    uint32_t ack_count;
    size_t ack_bytes;
    struct confirm confirm;
    struct ria_list unsure; /* unsure.c: struct unsure */
    uint32_t unsure_count;
    size_t unsure_bytes;

    bool leaving;                  /* told to end: hands over what it leads, all else as before */
    struct handover *handover;     /* NULL: no call is under way */
    bool handover_agreed;          /* others lead, as metadata will tell */
    int32_t handover_leaders_left; /* partitions nobody else can lead */
    int64_t handover_until_us;
    int64_t handover_silent_us; /* given up then, if no coordinator has answered */
    int64_t handover_retry_us;  /* no call before */
    bool stopping;              /* no new work, replication goes on */
    bool stopped;               /* nothing is answered any more, logs are being closed */
    bool freeing;               /* requests end without an answer */
    int64_t drain_until_us;
    bool *out_done;
    struct storage_metrics metrics;
};

/* ---- events.c ---- */

extern const struct partition_host storage_partition_host;

/* Something is to be flushed at the end of this turn. */
void storage_want_flush(struct storage *s);
void storage_flush(struct storage *s);

/* The replica's log was written to: sync it, wake who waits for batches. */
void storage_mark_dirty(struct replica *replica);

/* The log's on_synced; arg is the replica. */
void storage_on_log_synced(void *arg, ria_err err);

/* The replication worker is being told the high watermark; it tells the followers. Returns it. */
static inline int64_t storage_tell_high_watermark(struct replica *replica)
{
    replica->told_high_watermark = replica->partition.high_watermark;
    return replica->told_high_watermark;
}

void storage_sync_relaxed(struct storage *s);
void storage_tick(struct storage *s);
int64_t storage_count_leaders(const struct storage *s);

/* A node of the cluster has changed: partitions led here may have waited for it. */
void storage_note_node(struct storage *s, const struct cluster_node *node);

/* ---- service.c ---- */

void storage_fatal(struct storage *s, const char *fmt, ...) RIA_PRINTF(2, 3);

/* A new incarnation, larger than any this folder knows of. Before the node is registered. */
void storage_count_start(struct storage *s);

/* Everything assigned is open: say so, once. */
void storage_note_ready(struct storage *s);

static inline struct replica *replica_of(struct partition *p)
{
    return RIA_CONTAINER(p, struct replica, partition);
}

static inline const struct replica *replica_at(const struct ria_list *link)
{
    return (const struct replica *)(const void
                                        *)((const char *)link - offsetof(struct replica, link));
}

/* ---- replicas.c ---- */

/* NULL: not on this node. */
struct replica *
storage_find(const struct storage *s, const struct ria_uuid *topic_id, int32_t number);
struct replica *storage_find_id(const struct storage *s, const struct partition_id *id);

/* The same, open; else why not. */
struct replica *
storage_find_open(const struct storage *s, const struct partition_id *id, ria_err *out_err);

/* This node is a replica of the partition. */
bool storage_is_assigned(const struct storage *s, const struct cluster_partition *assigned);

/* The coordinator says that this node was a replica and that its data may go: the only word on
 * which the data of a partition that exists is deleted. */
bool storage_is_dropped(const struct storage *s, const struct cluster_partition *assigned);

/* Follow the metadata's word. */
void storage_assign(struct storage *s, struct cluster_partition *assigned);
/* The replica may be able to do now what it could not when the metadata came. */
void storage_apply_again(struct replica *replica);
void storage_configure(struct storage *s, struct cluster_topic *topic);
void storage_remove_topic(struct storage *s, struct cluster_topic *topic);

/* Open the folder of a partition that this node is dropped from, to see whether it may go. */
void storage_look_at(struct storage *s, const struct partition_id *id);

/* Remove replicas whose log has become quiet. */
void storage_finish_removals(struct storage *s);

/* Open waiting replicas for a while. */
void storage_open_step(struct storage *s);

/* See identity.lost_data. */
void storage_settle_lost(struct storage *s);

/* Unlink and free it; its log stays as it is on disk. */
void storage_replica_free(struct replica *replica);

/* ---- node_checkpoint.c ---- */

/* At the start: what the marks know goes into the checkpoint, durably; then they begin anew. */
void storage_begin_marks(struct storage *s, struct data_dir *dir);

/* Write what has changed within a second. */
void storage_checkpoint_soon(struct storage *s);

/* A sync has ended: the marks are to know. */
void storage_mark_synced(struct replica *replica);

/* Synced end or high watermark moved: the checkpoint is to know. */
void storage_mark_changed(struct replica *replica);
void storage_checkpoint(struct storage *s);

/* Something came into the folder's trash: it waits for the checkpoint, if that has to be written.
 */
void storage_release_trash(struct storage *s, struct data_dir *dir);

/* Blocks; at the end. */
void storage_checkpoint_now(struct storage *s);

/* Blocks: only this folder's, as it is in memory. Errors: those of the disk. */
ria_err storage_checkpoint_dir_now(struct data_dir *dir) RIA_MUST_USE;
bool storage_checkpoint_is_busy(const struct storage *s);

/* A checkpoint write that ended; arg is the data_dir. */
void storage_on_checkpoint_written(void *arg, ria_err err);

/* ---- shutdown.c ---- */

void storage_drain_step(struct storage *s);

/* ---- handover.c ---- */

void storage_begin_handover(struct storage *s);

/* True: it leads nothing that somebody else can lead, or time is over. Else ask again soon. */
bool storage_hand_over(struct storage *s);
void storage_forget_handover(struct storage *s);

/* ---- folders.c ---- */

/* "<topic uuid>-<number>". */
enum { STORAGE_FOLDER_MAX = 64 };
void storage_folder_name(const struct partition_id *id, char out_name[STORAGE_FOLDER_MAX]);

/* Rename and remove a replica's folder, step by step. */
void storage_throw_away(struct storage *s, struct data_dir *dir, const char *name);

/* At the start, before any log is opened: of what was removed and is still garbage the checkpoint
 * may have an entry, which is not believed. The removal goes on. */
void storage_forget_removed(struct storage *s, struct data_dir *dir);

/* Once, after the first metadata: what else is in the data folders. */
void storage_scan_folders(struct storage *s);

/* A folder that nothing claims. */
struct storage_orphan {
    struct ria_list link; /* in storage.orphans */
    struct data_dir *dir;
    int64_t bytes; /* of its files; -1 = not counted */
    char name[];
};

void storage_add_orphan(struct storage *s, struct data_dir *dir, const char *name);

/* NULL: it is none. */
struct storage_orphan *storage_find_orphan(struct storage *s, const char *name);

/* It is claimed now, or gone. Nothing happens if it is none. */
void storage_forget_orphan(struct storage *s, const char *name);
void storage_forget_orphans(struct storage *s);
/* ---- fitness.c ---- */

/* The replica's log has failed, was damaged or repaired, could not be opened or was: tell the
 * coordinator, if it does not know. From anywhere, the log's own callbacks included. */
void storage_report_fitness(struct replica *replica);

/* ---- registration.c ---- */

void storage_register(struct storage *s);
void storage_forget_registration(struct storage *s);

/* ---- proposals.c ---- */

void storage_propose_isr(struct storage *s, struct partition *p);
void storage_forget_proposals(struct storage *s);

/* ---- dispatch.c ---- */

void storage_on_request(void *arg, struct ria_rpc_request *request);

/* To its handler, if this node still answers. The arena is free to be used. */
struct handle_request;
void storage_handle(const struct handle_request *r);

/* ---- unsure.c ---- */

/* Those that wait for the coordinator's word end without it. */
void storage_end_unsure(struct storage *s);

/* ---- handle_replica_follower.c ---- */

/* Go on preparing (there is something to prepare); end what is left with SHUTDOWN. */
void storage_prepare_step(struct storage *s);
void storage_end_prepares(struct storage *s);

/* ---- handle_replica_fetch.c ---- */

/* fetch_answer_fn; arg is the storage. */
void storage_answer_fetch(void *arg, struct fetch_session *session, fetch_end end);
