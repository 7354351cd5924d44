/* streams: live streams of topics to clients.
 *
 * A stream is a place in the log (an offset per partition), a socket, and nothing in between but
 * the piece that the socket takes at the moment. Those who stand at the same place and want the
 * same (topic, partitions, form, filter) are a flock: what they get is read and rendered once.
 * Flocks that have caught up become one; who falls behind goes on alone.
 * docs/design/011-streams.md tells how.
 *
 * Failure modes: a leader that is away is waited for, with heartbeats. Records that are gone (or a
 * position beyond the end) end the stream or are skipped, as the client said. A deleted topic,
 * damage and the gateway's end are told in a last event. A client that takes nothing for long is
 * left by the web server.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"
#include "common/env.h"
#include "common/map.h"
#include "common/metrics.h"
#include "common/timers.h"

#include "services/gateway/budget.h"
#include "services/gateway/failure.h"
#include "services/gateway/filter.h"
#include "services/gateway/gate.h"
#include "services/gateway/leader_call.h"
#include "services/gateway/request.h"
#include "services/gateway/stream_piece.h"
#include "services/gateway/watch.h"
#include "services/shared/cluster.h"

/* What to do when the next record is not there any more, or not there yet. */
typedef enum stream_policy {
    STREAM_FAIL,
    STREAM_EARLIEST,
    STREAM_LATEST,
} stream_policy;

struct stream_metrics {
    struct ria_gauge open;
    struct ria_gauge flocks;
    struct ria_counter opened;
    struct ria_counter refused;
    struct ria_counter records;  /* sent, per client */
    struct ria_counter filtered; /* read and left out */
    struct ria_counter pieces;   /* rendered */
    struct ria_counter evicted;  /* clients too slow for their flock */
};

struct streams {
    const struct ria_env *env;
    struct cluster *cluster;
    struct leader_calls *leaders;
    struct watches *watches;
    struct gate *gate;
    struct budget *budget;
    uint32_t streams_max;
    uint32_t request_timeout_ms;
    struct ria_map classes; /* by what their streams want */
    struct ria_list all;
    struct ria_timer tick;
    struct filter_scratch scratch;
    struct stream_metrics metrics;
    bool stopping;
};

/* What a client asked for. Everything is borrowed for the call that takes it. */
struct stream_wish {
    struct cluster_topic *topic;
    const int32_t *partitions; /* ascending */
    const int64_t *offsets;    /* where to begin */
    const int64_t *asked;      /* the same, or what is left out in front of it, and told */
    const int64_t *highs;      /* high watermarks, INT64_MAX where unknown */
    uint32_t slot_count;
    stream_form form;
    stream_policy policy;
    const struct ria_slice *filter_texts;
    uint32_t filter_count;
    int64_t heartbeat_ms;
    int64_t records_max; /* 0 = no limit */
    int64_t time_max_ms; /* 0 = no limit */
};

/* Borrows all; they live longer. */
void streams_init(
    struct streams *streams,
    const struct ria_env *env,
    struct cluster *cluster,
    struct leader_calls *leaders,
    struct watches *watches,
    struct gate *gate,
    uint32_t streams_max,
    uint32_t request_timeout_ms
);

/* Forgets all streams; their requests may still be released. */
void streams_fini(struct streams *streams);

/* A place for one more. False: there are as many as there may be. */
bool streams_reserve(struct streams *streams);

/* Of a reservation that came to nothing. */
void streams_unreserve(struct streams *streams);

/* Answers the request with the stream. Takes the reservation, on errors too, after which the
 * request is not answered. Errors: RIA_ERR_NOMEM; RIA_ERR_INVALID (a filter, which were parsed
 * before). */
ria_err streams_open(
    struct streams *streams, struct request *request, const struct stream_wish *wish
) RIA_MUST_USE;

/* The gateway ends: every stream is told so. */
void streams_stop(struct streams *streams);

/* The cluster's view changed: streams of deleted topics end. */
void streams_view_changed(struct streams *streams);
