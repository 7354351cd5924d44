/* world: what a transform worker needs around it, in memory and under virtual time: storage nodes
 * with their producers' state, a coordinator, and a network that loses and delays frames.
 *
 * Faithful where the exactly-once protocol looks: leader epochs, high watermarks that lag behind,
 * uncommitted batches that a change of leader loses, duplicates, gaps, fenced epochs, CONFLICT,
 * unknown outcomes, requests that arrive after their sender has died. One seed, one run.
 */
#pragma once

#include "common/env.h"
#include "common/list.h"
#include "common/map.h"

#include "schemas/batch.h"

#include "services/transform/service.h"

enum {
    WORLD_NODES = 3,
    WORLD_SOURCE_PARTITIONS = 2,
    WORLD_DERIVED_PARTITIONS = 3,
    WORLD_ERRORS_PARTITIONS = 2,
    WORLD_WORKERS_MAX = 512,
    WORLD_BATCHES_MAX = 4096,
};

struct world_batch {
    uint8_t *data;
    size_t size;
    struct batch_header header;
};

struct world_log {
    struct ria_uuid topic_id;
    int32_t partition;
    int32_t leader; /* node 1..WORLD_NODES */
    int32_t leader_epoch;
    struct world_batch batches[WORLD_BATCHES_MAX];
    uint32_t batch_count;
    int64_t end_offset;
    int64_t high_watermark;
    int64_t start_offset;
    uint32_t forgotten;      /* batches whose producers are not remembered any more */
    int64_t changed_version; /* of the metadata */
};

struct world_task {
    struct ria_uuid worker;
    int16_t epoch;
    int64_t position;
    int64_t records_in;
    int64_t records_out;
    int64_t errors;
    char last_error[1100];
    int64_t changed_version;
};

struct world_worker;

struct world {
    struct ria_clock clock;
    int64_t now_us;
    struct ria_timers timers;
    struct ria_rand rand;
    struct ria_log log;

    /* Faults: one in so many, 0 = never. */
    uint32_t lose_request;
    uint32_t lose_reply;
    uint32_t late_request; /* the caller is told of a broken connection, the request comes later */
    int64_t delay_us_max;  /* of a frame */
    int64_t commit_us_max; /* between append and high watermark */
    bool silent[WORLD_NODES + 1]; /* stopped: takes what comes, answers nothing */
    uint64_t frames;              /* delivered so far */

    struct world_log source[WORLD_SOURCE_PARTITIONS];
    struct world_log derived[WORLD_DERIVED_PARTITIONS];
    struct world_log errors[WORLD_ERRORS_PARTITIONS];
    const char *sql;
    int64_t version;
    bool coordinator_down;
    bool transform_deleted;
    struct world_task tasks[WORLD_SOURCE_PARTITIONS];
    uint32_t produce_conflicts; /* refused so far */
    uint32_t produce_fenced;
    uint32_t produce_out_of_order;
    uint32_t produce_duplicates;
    uint32_t max_message_bytes; /* of the derived topic; 0 = default */

    struct ria_list parked; /* requests */
    struct ria_list calls;  /* callers' */
    struct world_worker *workers[WORLD_WORKERS_MAX];
    uint32_t worker_count;
};

/* A worker, alive or dead. */
struct world_worker {
    struct world *world;
    struct ria_rpc rpc; /* first of its kind: ops */
    struct ria_env env;
    struct ria_rand rand;
    struct transform *transform; /* NULL: dead */
    bool cut_off;                /* hears nothing from the coordinator */
    ria_rpc_handler_fn handler;
    void *handler_arg;
    int64_t last_arrival_us[WORLD_NODES + 1]; /* keeps the order per address */
};

void world_init(struct world *world, uint64_t seed, const char *sql);
void world_fini(struct world *world);

/* Start a worker; leases are not given by themselves. */
struct world_worker *world_start_worker(struct world *world);

/* kill -9: what it has sent is still on its way. */
void world_kill_worker(struct world_worker *worker);

/* A request to the worker; returns its answer (NULL: none). Takes msg. */
struct ria_msg *world_ask(struct world_worker *worker, struct ria_msg *msg);

/* The coordinator gives the lease. */
void world_assign(struct world *world, int32_t partition, const struct world_worker *worker);

/* Append one batch to a source partition, committed at once. */
void world_produce(struct world *world, int32_t partition, struct batch_builder *builder);

/* The leader dies: another one, without some of what was not committed. */
void world_move_leader(struct world *world, struct world_log *log);

/* A day of silence: the log's producers are forgotten, as storage does. Nothing happens unless the
 * tasks' committed positions have long passed what is in the log. */
bool world_forget_producers(struct world *world, struct world_log *log);

/* Everything that the node leads gets another leader. */
void world_move_leaders_from(struct world *world, int32_t node);

struct world_log *world_any_log(struct world *world);

/* Run until time, or (frames > 0) until so many frames have been delivered. */
void world_run(struct world *world, int64_t us, uint64_t frames);

/* False: not within us. */
bool world_run_until(struct world *world, bool (*done)(struct world *world), int64_t us);

/* Every task has committed to the end of its source, and its outputs are committed. */
bool world_is_done(struct world *world);

/* No more faults. */
void world_heal(struct world *world);

/* ---- for world*.c ---- */

struct world_request {
    struct ria_list link; /* parked */
    struct world *world;
    struct world_worker *from;
    int32_t node; /* 0 = the coordinator */
    struct ria_msg *msg;
    struct world_call *call;
    int64_t deadline_us;   /* parked until */
    struct world_log *log; /* a produce that waits for its commit */
    int64_t last_offset;
    int32_t leader_epoch;
    int64_t base_offset;
    bool duplicate;
    struct ria_timer timer;
};

/* The reply, or NULL: it is parked (it may not be, if last). */
struct ria_msg *world_storage(struct world_request *request, bool last);
struct ria_msg *world_coordinator(struct world_request *request, bool last);

/* Look at parked requests again. */
void world_changed(struct world *world);
