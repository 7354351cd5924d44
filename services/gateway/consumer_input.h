/* consumer_input: what Confluent's and Strimzi's clients send of consumers: documents, partitions,
 * times, patterns of topics.
 *
 * Thread: the loop's.
 */
#pragma once

#include <jansson.h>

#include "common/base.h"

#include "services/gateway/consumer_call.h"

/* The body as an object, ended with json_decref(). *out_document is NULL if there is none and that
 * is allowed. False: answered (415, 400 not JSON, 422 no object). */
bool consumer_document(struct request *request, bool optional, json_t **out_document);

/* Every member is among names (ended by NULL). False: answered (422). */
bool consumer_known(struct request *request, const json_t *document, const char *const *names);

/* A partition that a document or a query names, with what is said of it. */
struct consumer_at {
    struct cluster_partition *partition;
    int64_t offset;            /* -1: none */
    int64_t timestamp_ms;      /* -1: none */
    struct ria_slice metadata; /* in the arena */
};

enum { CONSUMER_METADATA_MAX = 4096 }; /* as GroupCommit.json says */

typedef enum consumer_want {
    WANT_PARTITION,
    WANT_OFFSET,
    WANT_TIMESTAMP,
} consumer_want;

/* The array `name`: NULL is none. The result is in the arena. False: answered (422, 40401, 40402).
 */
bool consumer_partitions(
    struct consumer_call *call,
    const json_t *array,
    const char *name,
    consumer_want want,
    struct consumer_at **out_items,
    uint32_t *out_count
);

/* A topic by its name; NULL: answered (40401). */
struct cluster_topic *consumer_topic(struct consumer_call *call, struct ria_slice name);

/* A partition of it by its number; NULL: answered (40402). */
struct cluster_partition *
consumer_partition(struct consumer_call *call, struct cluster_topic *topic, int64_t number);

/* Milliseconds since 1970 of an ISO 8601 time: date, T, time, fraction (or none), Z or an offset.
 */
bool consumer_time_parse(struct ria_slice text, int64_t *out_ms);
