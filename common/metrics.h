/* metrics: counters, gauges and latency histograms of one process, rendered for Prometheus.
 *
 * A module keeps its metrics in a struct of its own and registers them once at start; updating one
 * is a plain store on the loop's thread. Names are `riacho_<service>_<what>_<unit>[_total]`.
 */
#pragma once

#include "common/base.h"
#include "common/buf.h"
#include "common/err.h"

/* The Content-Type of what ria_metrics_render() writes. */
#define RIA_METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct ria_counter {
    uint64_t value;
};

struct ria_gauge {
    int64_t value;
};

/* Microseconds in buckets that grow by a quarter of a power of two: 0..3 us exactly, then 4 per
 * octave up to 2^32 us (71 minutes); what is longer is counted in the last one. */
enum { RIA_HISTOGRAM_BUCKETS = 124 };

struct ria_histogram {
    uint64_t buckets[RIA_HISTOGRAM_BUCKETS];
    uint64_t count;
    uint64_t sum_us;
};

void ria_histogram_record(struct ria_histogram *histogram, int64_t us);

/* Largest value of the bucket that holds the quantile (0..1), in microseconds; 0 if empty. */
int64_t ria_histogram_quantile(const struct ria_histogram *histogram, double quantile);

struct ria_metrics;

ria_err ria_metrics_new(struct ria_metrics **out_metrics) RIA_MUST_USE;

/* Accepts NULL. */
void ria_metrics_free(struct ria_metrics *metrics);

/* Borrow the metric, name, help and labels ("" or `key="value"`) for the registry's life.
 * Abort on a name that is registered twice with the same labels. */
void ria_metrics_add_counter(
    struct ria_metrics *metrics,
    const char *name,
    const char *labels,
    const char *help,
    const struct ria_counter *counter
);
void ria_metrics_add_gauge(
    struct ria_metrics *metrics,
    const char *name,
    const char *labels,
    const char *help,
    const struct ria_gauge *gauge
);
void ria_metrics_add_histogram(
    struct ria_metrics *metrics,
    const char *name,
    const char *labels,
    const char *help,
    const struct ria_histogram *histogram
);

/* fn runs at the start of each rendering, to bring gauges up to date that are not kept so. */
typedef void (*ria_metrics_refresh_fn)(void *arg);
void ria_metrics_add_refresh(struct ria_metrics *metrics, ria_metrics_refresh_fn fn, void *arg);

/* Appends the metrics in Prometheus' text format (version 0.0.4), those of one name together.
 * Histograms become about 20 buckets in seconds. Also appends the process's own: CPU seconds,
 * resident bytes, open descriptors, start time. Errors: RIA_ERR_NOMEM, RIA_ERR_LIMIT. */
ria_err ria_metrics_render(const struct ria_metrics *metrics, struct ria_buf *out) RIA_MUST_USE;
