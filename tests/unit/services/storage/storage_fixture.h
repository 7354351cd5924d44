/* storage_fixture: one storage node on a simulated disk, with a coordinator that the test plays.
 *
 * Registration, heartbeats and metadata pulls are answered by themselves; proposals of in-sync sets
 * wait for the test. The node has number 1; its peers are numbers without a process.
 */
#pragma once

#include "common/arena.h"
#include "common/env.h"
#include "common/fs_sim.h"
#include "common/uuid.h"

#include "schemas/batch.h"
#include "schemas/gen/metadata_response.h"

#include "services/storage/service.h"
#include "tests/lib/fake_rpc.h"

enum { FIXTURE_NODE = 1, FIXTURE_ROWS_MAX = 16, FIXTURE_LOG_SIZE = 256 * 1024 };

struct storage_fixture {
    struct ria_env env;
    struct ria_clock clock;
    struct ria_timers timers;
    struct ria_rand rand;
    struct ria_log log;
    struct ria_fs *fs;
    struct fake_rpc rpc;
    struct ria_arena arena; /* of decoded replies */
    int64_t now_us;

    /* Called with true before the core runs (but for requests and answers), with false afterwards.
     * NULL: not. */
    void (*around)(void *arg, bool core);
    void *around_arg;

    int64_t reporter_incarnation; /* of those who report */
    int64_t disk_reserve;         /* option */
    const char *data_dir;         /* the same; "data" */
    bool forget_missing_dirs;
    struct storage *storage; /* NULL while it is down */
    int64_t scrub_period_ms; /* for the next start; 0 = never */
    int64_t scrub_rate;
    char fatal[STORAGE_REASON_MAX];
    char log_text[FIXTURE_LOG_SIZE];
    size_t log_size;

    /* What the coordinator says. */
    bool coordinator_away; /* nothing is answered */
    bool unregistered;     /* heartbeats are told so */
    bool told_full;        /* by the last heartbeat */
    int32_t node_id;
    struct ria_uuid cluster_id;
    ria_err register_err;
    unsigned register_count;
    int64_t incarnation;        /* of the last registration */
    int64_t newest_incarnation; /* that the coordinator answers with, if it is larger */
    ria_err shutdown_err;       /* what ShutdownNode is answered with */
    int32_t leaders_left;       /* the same, RIA_OK */
    unsigned shutdown_count;
    int64_t metadata_version;
    bool metadata_new;
    struct metadata_response_metadata_topic topics[FIXTURE_ROWS_MAX];
    uint32_t topic_count;
    struct metadata_response_metadata_config configs[FIXTURE_ROWS_MAX][4];
    struct metadata_response_metadata_partition partitions[FIXTURE_ROWS_MAX];
    uint32_t partition_count;
    int32_t nodes[FIXTURE_ROWS_MAX][4][8]; /* replicas, isr, unfit, dropped */
    struct metadata_response_metadata_node node_rows[FIXTURE_ROWS_MAX];
    uint32_t node_count;
    char addresses[FIXTURE_ROWS_MAX][32];
    char names[FIXTURE_ROWS_MAX][16];
};

/* A disk and a clock; no service yet. */
void fixture_init(struct storage_fixture *f);
void fixture_fini(struct storage_fixture *f);

/* Start the service; false if it refuses the folder (then f->fatal says why). */
bool fixture_start(struct storage_fixture *f);

/* Stop it cleanly / as kill -9 / as a power cut. */
void fixture_stop(struct storage_fixture *f);
void fixture_kill(struct storage_fixture *f);
void fixture_power_cut(struct storage_fixture *f);

/* Let time pass, timer by timer, the coordinator answering. 0: what is due now. */
void fixture_run_ms(struct storage_fixture *f, int64_t ms);

struct ria_uuid fixture_topic_id(uint8_t number);

/* Rows of the metadata: new, or another content of an old one; fixture_publish() sends them all.
 * setting: "name=value" or NULL. */
void fixture_topic(
    struct storage_fixture *f,
    uint8_t topic,
    int32_t partition_count,
    int16_t replication_factor,
    bool deleted,
    const char *setting
);

/* replicas, isr: node numbers as digits, "123". */
void fixture_partition(
    struct storage_fixture *f,
    uint8_t topic,
    int32_t number,
    int32_t leader,
    int32_t leader_epoch,
    int32_t partition_epoch,
    const char *replicas,
    const char *isr
);

/* More about the row of a partition; fixture_partition() takes all back. */
void fixture_dropped(struct storage_fixture *f, uint8_t topic, int32_t number, const char *nodes);
void fixture_force(struct storage_fixture *f, uint8_t topic, int32_t number, int32_t forced_epoch);
void fixture_unfit(struct storage_fixture *f, uint8_t topic, int32_t number, const char *nodes);

/* Nodes have no rows unless given one. state: cluster_node_state. */
void fixture_node(struct storage_fixture *f, int32_t id, int8_t state);

void fixture_publish(struct storage_fixture *f);

/* The coordinator has lost all rows. */
void fixture_forget(struct storage_fixture *f);

/* One topic with one partition, led by this node (epoch 5) with these replicas, all in sync; the
 * service started and ready. */
void fixture_lead(struct storage_fixture *f, const char *replicas, const char *setting);

/* The same, followed by this node, led by node 2. */
void fixture_follow(struct storage_fixture *f, const char *replicas, const char *setting);

/* ---- requests to topic 1, partition 0 ---- */

struct produce_args {
    int32_t leader_epoch;
    int64_t producer_id; /* 0 = none */
    int16_t producer_epoch;
    int32_t sequence;
    int64_t producer_last_offset; /* -2 unless given */
    bool check_last_offset;
    int records; /* 0 = 1 */
    int32_t partition;
    uint8_t topic; /* 0 = 1 */
    uint32_t deadline_ms;
    size_t value_size;
};

struct ria_rpc_request *fixture_produce(struct storage_fixture *f, struct produce_args args);

/* Produce one record under epoch 5 and let the disk finish. */
struct ria_rpc_request *fixture_produce_one(struct storage_fixture *f);

/* Any request. */
struct ria_rpc_request *fixture_send(
    struct storage_fixture *f, int16_t api_key, const void *body, struct ria_slice payload
);

/* The node asks the coordinator whether it still leads. Answered at once unless that is away. NULL:
 * it does not. */
struct fake_rpc_call *fixture_question(struct storage_fixture *f);

/* RIA_OK and the decoded body (arrays live until the next call); or the error that was answered;
 * RIA_ERR_BUSY if there is no answer yet. */
ria_err fixture_reply(
    struct storage_fixture *f, int16_t api_key, const struct ria_rpc_request *request, void *out
);
struct ria_slice fixture_payload(const struct ria_rpc_request *request);
const char *fixture_error_text(const struct ria_rpc_request *request);
ria_err fixture_error(const struct ria_rpc_request *request);

/* The follower `node` says it is on disk up to there, under epoch. */
ria_err fixture_report(struct storage_fixture *f, int32_t node, int32_t epoch, int64_t end_offset);

struct storage_replica_info fixture_info(const struct storage_fixture *f);

/* Encoded batches as a leader would send them: `count` batches of one record from base_offset. The
 * memory is the caller's to free. */
struct ria_slice fixture_batches(int64_t base_offset, int count, int32_t leader_epoch);

unsigned fixture_logged(const struct storage_fixture *f, const char *text);
