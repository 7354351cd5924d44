/* gateway: what the handlers share. Private to this folder's service.c, handle_*.c and append.c.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/env.h"
#include "common/metrics.h"
#include "common/uuid.h"

#include "schemas/gen/messages.h"

#include "services/gateway/budget.h"
#include "services/gateway/consumer_notes.h"
#include "services/gateway/coordinator_call.h"
#include "services/gateway/failure.h"
#include "services/gateway/fetch_cache.h"
#include "services/gateway/gate.h"
#include "services/gateway/group_ops.h"
#include "services/gateway/group_release.h"
#include "services/gateway/group_streams.h"
#include "services/gateway/group_watch.h"
#include "services/gateway/leader_call.h"
#include "services/gateway/marks.h"
#include "services/gateway/node_logs.h"
#include "services/gateway/produce.h"
#include "services/gateway/queue_acks.h"
#include "services/gateway/queue_bury.h"
#include "services/gateway/records.h"
#include "services/gateway/request.h"
#include "services/gateway/router.h"
#include "services/gateway/service.h"
#include "services/gateway/streams.h"
#include "services/gateway/watch.h"
#include "services/shared/cluster.h"
#include "services/shared/membership.h"

#define TYPE_JSON    "application/json"
#define TYPE_NDJSON  "application/x-ndjson"
#define TYPE_BATCHES "application/vnd.riacho.batch"
#define TYPE_EVENTS  "text/event-stream"
#define TYPE_V2      "application/vnd.kafka.v2+json"

enum {
    ADMIN_TIMEOUT_MS = 10 * 1000,
    VIEW_TIMEOUT_MS = 5 * 1000,      /* until our view has what the coordinator just did */
    DOCUMENT_MAX = 64 * 1024 * 1024, /* of an answer made in memory */
};

struct gateway_metrics {
    struct ria_counter fetches;
    struct ria_counter fetched_bytes;
    struct ria_gauge waiting_reads;
    struct ria_counter queue_records; /* handed out */
    struct ria_counter queue_acks;    /* locks that were acknowledged, extended and so on */
    struct ria_counter queue_late;    /* those that were too late */
    struct ria_counter queue_gone;    /* ranges that do not exist any more */
    struct ria_counter queue_buried;  /* records in a dead-letter topic */
    struct ria_counter queue_bury_failures;
    struct ria_counter queue_redriven; /* records put back from one */
    struct ria_histogram produce_us;   /* from the head of the request to the answer */
    struct ria_histogram read_us;      /* without the time that the client asked to wait */
};

struct gateway {
    const struct ria_env *env;
    struct gateway_options options;
    struct ria_metrics *metrics; /* NULL in the simulator */
    struct cluster *cluster;
    struct membership *membership;
    struct coordinator_calls coordinator;
    struct leader_calls leaders;
    struct node_logs_calls node_logs;
    struct watches watches;
    struct marks marks;
    struct group_ops group_ops;
    struct group_releases group_releases;
    struct group_watch group_watch;
    struct queue_acks queue_acks;
    struct queue_burials queue_burials;
    struct ria_list queue_fetches; /* queue_fetch.h: those under way */
    struct ria_list queue_reads;   /* queue_fetch.h: Receives under way, oldest first */
    int64_t queue_read_next;       /* id of the next one */
    struct ria_list group_fetches; /* group_fetch.h: those under way */
    struct consumer_notes consumer_notes;
    struct ria_list consumer_calls; /* consumer_call.h: those that wait for a time */
    struct ria_list consumer_polls; /* handle_consumers_records.c: those with records */
    struct gate gate;               /* reads */
    struct fetch_cache fetch_cache; /* of those that take a few records at a time */
    struct streams streams;
    struct group_streams group_streams;
    struct produce *produce;
    struct budget *budget;
    struct record_set records;
    struct gateway_metrics numbers;
    bool stopping; /* reads do not wait */
};

/* routes.c: ended by a row without a pattern. */
extern const struct route gateway_routes[];

/* Answers 503: this gateway has not heard of the cluster yet (cluster_is_ready()). */
void gateway_fail_not_ready(struct request *request);

/* The topic named by the request's first parameter; NULL: the request was answered. */
struct cluster_topic *gateway_topic(struct gateway *gateway, struct request *request);

/* The partition named by its second parameter; NULL: the request was answered. */
struct cluster_partition *
gateway_partition(struct gateway *gateway, struct request *request, struct cluster_topic *topic);

/* Query parameter as integer in [min, max]; the default if it is absent. False: answered. */
bool gateway_query_i64(
    struct request *request,
    const char *name,
    int64_t min,
    int64_t max,
    int64_t fallback,
    int64_t *out_value
);

/* Answers 415 if the body is compressed: formats that are looked into must be plain. */
bool gateway_body_is_plain(struct request *request);

/* TYPE_JSON, TYPE_NDJSON or TYPE_BATCHES, as Accept says; NULL: answered 406. */
const char *gateway_record_type(struct request *request);

/* Answers 400 if the query has a parameter that is not in names (ended by NULL). */
bool gateway_query_known(struct request *request, const char *const *names);

/* Answers 200 with buf, or 503 if err says that it could not be filled. Takes buf's memory. */
void gateway_respond_json(struct request *request, int status, ria_err err, struct ria_buf *buf);

/* "synced" or "relaxed". */
const char *gateway_durability(const struct cluster_topic *topic);

/* Polls whose answer was on its way are forgotten, with what they have read. */
void consumer_polls_fini(struct gateway *gateway);

#define GATEWAY_HANDLER(name) void name(struct gateway *gateway, struct request *request)

/* handle_v2.c */
GATEWAY_HANDLER(handle_v2_root);
GATEWAY_HANDLER(handle_v2_brokers);
GATEWAY_HANDLER(handle_v2_topics);
GATEWAY_HANDLER(handle_v2_topic);
GATEWAY_HANDLER(handle_v2_partitions);
GATEWAY_HANDLER(handle_v2_partition);
GATEWAY_HANDLER(handle_v2_offsets);
/* handle_v2_produce.c */
GATEWAY_HANDLER(handle_v2_produce);
/* handle_records.c */
GATEWAY_HANDLER(handle_records_write);
/* handle_read.c */
GATEWAY_HANDLER(handle_records_read);
/* handle_stream.c */
GATEWAY_HANDLER(handle_stream);
/* handle_groups.c, handle_group_reset.c */
GATEWAY_HANDLER(handle_groups_list);
GATEWAY_HANDLER(handle_group_describe);
GATEWAY_HANDLER(handle_group_reset);
GATEWAY_HANDLER(handle_group_delete);
/* handle_group_read.c, handle_group_stream.c, handle_group_commit.c */
GATEWAY_HANDLER(handle_group_stream);
GATEWAY_HANDLER(handle_group_records);
GATEWAY_HANDLER(handle_group_commit);
GATEWAY_HANDLER(handle_group_extend);
GATEWAY_HANDLER(handle_group_release);
GATEWAY_HANDLER(handle_group_leave);
/* handle_consumers_create.c, handle_consumers_subscription.c */
GATEWAY_HANDLER(handle_consumer_create);
GATEWAY_HANDLER(handle_consumer_delete);
GATEWAY_HANDLER(handle_consumer_subscribe);
GATEWAY_HANDLER(handle_consumer_subscription);
GATEWAY_HANDLER(handle_consumer_unsubscribe);
GATEWAY_HANDLER(handle_consumer_assign);
GATEWAY_HANDLER(handle_consumer_assignments);
/* handle_consumers_records.c, handle_consumers_positions.c, handle_consumers_offsets.c */
GATEWAY_HANDLER(handle_consumer_records);
GATEWAY_HANDLER(handle_consumer_seek);
GATEWAY_HANDLER(handle_consumer_seek_beginning);
GATEWAY_HANDLER(handle_consumer_seek_end);
GATEWAY_HANDLER(handle_consumer_commit);
GATEWAY_HANDLER(handle_consumer_offsets);
/* handle_queues.c, handle_queue_open.c, handle_queue_receive.c, handle_queue_ack.c,
 * handle_queue_redrive.c */
GATEWAY_HANDLER(handle_queue_open);
GATEWAY_HANDLER(handle_queue_describe);
GATEWAY_HANDLER(handle_queue_delete);
GATEWAY_HANDLER(handle_queue_receive);
GATEWAY_HANDLER(handle_queue_ack);
GATEWAY_HANDLER(handle_queue_nack);
GATEWAY_HANDLER(handle_queue_extend);
GATEWAY_HANDLER(handle_queue_reject);
GATEWAY_HANDLER(handle_queue_redrive);
/* handle_topics.c, handle_topic_alter.c, handle_topic_create.c */
GATEWAY_HANDLER(handle_topics_list);
GATEWAY_HANDLER(handle_topic_alter);
GATEWAY_HANDLER(handle_topic_create);
GATEWAY_HANDLER(handle_topic_describe);
GATEWAY_HANDLER(handle_topic_delete);
GATEWAY_HANDLER(handle_offsets);
/* handle_transforms.c, handle_transform_create.c */
GATEWAY_HANDLER(handle_transforms_list);
GATEWAY_HANDLER(handle_transform_create);
GATEWAY_HANDLER(handle_transform_describe);
GATEWAY_HANDLER(handle_transform_delete);
/* handle_nodes.c */
GATEWAY_HANDLER(handle_nodes_list);
GATEWAY_HANDLER(handle_node_drain);
GATEWAY_HANDLER(handle_node_keep);
GATEWAY_HANDLER(handle_node_remove);
/* handle_moves.c */
GATEWAY_HANDLER(handle_moves_list);
GATEWAY_HANDLER(handle_moves_begin);
/* handle_rebalance.c */
GATEWAY_HANDLER(handle_rebalance_plan);
GATEWAY_HANDLER(handle_rebalance_begin);
GATEWAY_HANDLER(handle_rebalance_stop);
/* handle_leader.c */
GATEWAY_HANDLER(handle_leader_candidates);
GATEWAY_HANDLER(handle_leader_elect);
/* handle_cluster.c */
GATEWAY_HANDLER(handle_cluster);
GATEWAY_HANDLER(handle_producer_ids);
GATEWAY_HANDLER(handle_health);
GATEWAY_HANDLER(handle_ready);
GATEWAY_HANDLER(handle_metrics);
GATEWAY_HANDLER(handle_openapi);
