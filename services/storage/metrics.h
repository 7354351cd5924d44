/* metrics: what a storage node counts. Plain stores; rendering is common/metrics.h. */
#pragma once

#include "common/base.h"
#include "common/metrics.h"

/* clang-format off */
#define STORAGE_COUNTERS(X)                                                                        \
    X(produce_batches,     "riacho_storage_produce_batches_total",    "batches appended as leader") \
    X(produce_bytes,       "riacho_storage_produce_bytes_total",      "bytes appended as leader")   \
    X(produce_duplicates,  "riacho_storage_produce_duplicates_total", "batches that were there already") \
    X(produce_refused,     "riacho_storage_produce_refused_total",    "produces that ended in an error") \
    X(unsure,              "riacho_storage_unsure_total",             "refusals that waited for the coordinator's word") \
    X(fetch_bytes,         "riacho_storage_fetch_bytes_total",        "bytes read by consumers")    \
    X(replica_fetch_bytes, "riacho_storage_replica_fetch_bytes_total", "bytes read by replication workers") \
    X(replica_append_bytes, "riacho_storage_replica_append_bytes_total", "bytes appended as follower") \
    X(range_fetch_bytes,   "riacho_storage_range_fetch_bytes_total",  "bytes given to peers that repair a replica") \
    X(repair_failures,     "riacho_storage_repair_failures_total",    "repairs that no peer could help") \
    X(scrub_bytes,         "riacho_storage_scrub_bytes_total",        "bytes of logs read by the scrub") \
    X(scrub_passes,        "riacho_storage_scrub_passes_total",       "times that the scrub has read everything") \
    X(truncations,         "riacho_storage_truncations_total",        "logs cut by a new leader epoch") \
    X(isr_shrinks,         "riacho_storage_isr_shrinks_total",        "proposals of a smaller in-sync set") \
    X(isr_expands,         "riacho_storage_isr_expands_total",        "proposals of a larger in-sync set") \
    X(log_failures,        "riacho_storage_log_failures_total",       "logs that stopped after a disk error") \
    X(refused_full,        "riacho_storage_refused_full_total",       "batches refused because the disk is full") \
    X(requests,            "riacho_storage_requests_total",           "requests of any kind")       \
    X(requests_malformed,  "riacho_storage_requests_malformed_total", "frames that are no request") \
    X(flushes,             "riacho_storage_flushes_total",            "turns that had something to flush")

#define STORAGE_GAUGES(X)                                                                          \
    X(replicas,            "riacho_storage_replicas",                 "replicas held")              \
    X(leaders,             "riacho_storage_leaders",                  "partitions led")             \
    X(disks_full,          "riacho_storage_disks_full",               "data folders that take no records for want of space") \
    X(damaged_replicas,    "riacho_storage_damaged_replicas",         "replicas with a range that cannot be read") \
    X(orphans,             "riacho_storage_orphans",                  "folders no topic claims")    \
    X(waiting_produces,    "riacho_storage_waiting_produces",         "produces that wait for their commit") \
    X(waiting_bytes,       "riacho_storage_waiting_bytes",            "bytes of their frames")      \
    X(parked,              "riacho_storage_parked_requests",          "requests that wait for data")
/* clang-format on */

#define STORAGE_COUNTER_FIELD_(field, name, help) struct ria_counter field;
#define STORAGE_GAUGE_FIELD_(field, name, help)   struct ria_gauge field;
struct storage_metrics {
    STORAGE_COUNTERS(STORAGE_COUNTER_FIELD_)
    STORAGE_GAUGES(STORAGE_GAUGE_FIELD_)
    struct ria_histogram produce_latency; /* request to ack */
};

/* Borrows both for the registry's life. */
void storage_metrics_register(const struct storage_metrics *m, struct ria_metrics *metrics);
