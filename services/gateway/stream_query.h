/* stream_query: what a client asks of a stream, out of its query and headers.
 *
 * Thread: the loop's.
 */
#pragma once

#include "common/base.h"

#include "services/gateway/filter.h"
#include "services/gateway/positions.h"
#include "services/gateway/streams.h"

enum {
    STREAM_HEARTBEAT_MS = 15 * 1000,
    STREAM_HEARTBEAT_MS_MIN = 250,
    STREAM_HEARTBEAT_MS_MAX = 10 * 60 * 1000,
    STREAM_TIME_MS_MAX = 24 * 60 * 60 * 1000,
};

struct gateway;

/* Lives in the request's arena. */
struct stream_ask {
    struct gateway *gateway;
    struct request *request;
    struct cluster_topic *topic;
    struct position *items; /* by partition, ascending; where each begins */
    uint32_t count;
    const char *from; /* the parameter or header that says where to begin */
    stream_form form;
    stream_policy policy;
    struct ria_slice filters[FILTERS_MAX];
    uint32_t filter_count;
    int64_t heartbeat_ms;
    int64_t records_max;
    int64_t time_max_ms;
};

/* ask->gateway, request and topic are set. False: the request was answered. */
bool stream_query_read(struct stream_ask *ask);

/* Of it form, filters, heartbeat_ms, max_records and max_ms. ask->gateway and request are set. */
bool stream_query_limits(struct stream_ask *ask);

/* A place for one more stream. False: answered. */
bool stream_query_admit(struct gateway *gateway, struct request *request);

/* 2026-11-28T15:00:00Z, with a fraction or an offset if you like (RFC 3339), in ms since 1970. */
bool stream_query_time(struct ria_slice text, int64_t *out_ms);
