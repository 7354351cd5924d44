/* log_metrics: what all logs of a process count together.
 *
 * Thread: the storage loop's.
 */
#pragma once

#include "common/metrics.h"

/* clang-format off */
/*    counter               name                                              help */
#define LOG_METRICS_TABLE(X)                                                                         \
    X(appended_bytes,       "riacho_storage_appended_bytes_total",            "bytes of record batches written") \
    X(segments_rolled,      "riacho_storage_segments_rolled_total",           "segments begun because the one before was full") \
    X(syncs,                "riacho_storage_log_syncs_total",                 "syncs of log files, each for all appends before it") \
    X(file_opens,           "riacho_storage_segment_opens_total",             "segment files opened: misses of the cache") \
    X(producers_shed,       "riacho_storage_producers_shed_total",            "producer ids forgotten because a partition has too many") \
    X(tails_cut,            "riacho_storage_tails_cut_total",                 "logs whose unsynced end was cut at open") \
    X(segments_discarded,   "riacho_storage_segments_discarded_total",        "unsynced segments set aside at open") \
    X(indexes_rebuilt,      "riacho_storage_indexes_rebuilt_total",           "segments read because their index was missing or bad") \
    X(damaged_ranges,       "riacho_storage_damaged_ranges_total",            "ranges of synced offsets found unreadable") \
    X(repaired_ranges,      "riacho_storage_repaired_ranges_total",           "damaged ranges that are whole again") \
    X(repaired_bytes,       "riacho_storage_repaired_bytes_total",            "bytes fetched from peers for them")
/* clang-format on */

#define LOG_METRICS_FIELD_(counter, name, help) struct ria_counter counter;
struct log_metrics {
    LOG_METRICS_TABLE(LOG_METRICS_FIELD_)
};

/* Borrows log_metrics for the registry's life. */
void log_metrics_register(const struct log_metrics *counters, struct ria_metrics *metrics);
