#include "common/metrics.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "common/assert.h"

enum {
    METRICS_CAPACITY_MIN = 32,
    METRICS_REFRESH_MAX = 16,

    /* Of rendered histograms: le = 2^6 us (64 us) to 2^25 us (33.6 s), a bucket each, and +Inf. */
    METRICS_LE_SHIFT_MIN = 6,
    METRICS_LE_SHIFT_MAX = 25,
};

typedef enum metric_kind {
    METRIC_COUNTER,
    METRIC_GAUGE,
    METRIC_HISTOGRAM,
} metric_kind;

struct metric {
    metric_kind kind;
    const char *name;
    const char *labels; /* "" or `key="value",...` */
    const char *help;
    const void *value; /* struct ria_counter, _gauge or _histogram */
};

struct ria_metrics {
    struct metric *metrics; /* in order of registration, those of one name next to each other */
    size_t count;
    size_t capacity;
    struct {
        ria_metrics_refresh_fn fn;
        void *arg;
    } refreshes[METRICS_REFRESH_MAX];
    size_t refresh_count;
    int64_t start_s; /* since 1970 */
};

/* --- histograms -------------------------------------------------------------------------------*/

/* 0..3 stand for themselves; then the octave [2^k, 2^(k+1)) has four buckets, from 4 + 4 (k - 2).
 */
static size_t bucket_of(uint64_t us)
{
    if (us < 4) {
        return (size_t)us;
    }
    unsigned octave = 63U - (unsigned)__builtin_clzll(us);
    size_t bucket = 4 + (size_t)(octave - 2) * 4 + (size_t)((us >> (octave - 2)) & 3);
    return ria_min_size(bucket, RIA_HISTOGRAM_BUCKETS - 1);
}

/* The largest value that is counted in the bucket. */
static int64_t bucket_max(size_t bucket)
{
    if (bucket < 4) {
        return (int64_t)bucket;
    }
    unsigned shift = (unsigned)(bucket - 4) / 4;
    return ((int64_t)(5 + (bucket - 4) % 4) << shift) - 1;
}

_Static_assert(4 + (31 - 2) * 4 + 3 == RIA_HISTOGRAM_BUCKETS - 1, "octaves 2 to 31 fill the array");

void ria_histogram_record(struct ria_histogram *histogram, int64_t us)
{
    uint64_t value = us < 0 ? 0 : (uint64_t)us;

    histogram->buckets[bucket_of(value)]++;
    histogram->count++;
    histogram->sum_us += value;
}

int64_t ria_histogram_quantile(const struct ria_histogram *histogram, double quantile)
{
    RIA_ASSERT(quantile >= 0 && quantile <= 1);
    if (histogram->count == 0) {
        return 0;
    }
    /* The rank of the value looked for, from 1. */
    uint64_t rank = (uint64_t)(quantile * (double)(histogram->count - 1)) + 1;
    uint64_t seen = 0;
    size_t bucket = 0;
    while ((seen += histogram->buckets[bucket]) < rank) {
        bucket++;
        RIA_ASSERT(bucket < RIA_HISTOGRAM_BUCKETS);
    }
    return bucket_max(bucket);
}

/* --- the registry -----------------------------------------------------------------------------*/

ria_err ria_metrics_new(struct ria_metrics **out_metrics)
{
    struct ria_metrics *metrics = calloc(1, sizeof(*metrics));

    if (metrics == NULL) {
        return RIA_ERR_NOMEM;
    }
    metrics->start_s = (int64_t)time(NULL);
    *out_metrics = metrics;
    return RIA_OK;
}

void ria_metrics_free(struct ria_metrics *metrics)
{
    if (metrics != NULL) {
        free(metrics->metrics);
        free(metrics);
    }
}

static void add(struct ria_metrics *metrics, struct metric metric)
{
    size_t at = metrics->count;

    RIA_ASSERT(metric.name != NULL && metric.labels != NULL && metric.help != NULL);

    if (metrics->count == metrics->capacity) {
        metrics->capacity = metrics->capacity == 0 ? METRICS_CAPACITY_MIN : metrics->capacity * 2;
        metrics->metrics = realloc(metrics->metrics, metrics->capacity * sizeof(metric));
        RIA_ASSERT(metrics->metrics != NULL); /* at start, and a few KiB */
    }
    for (size_t i = 0; i < metrics->count; i++) {
        const struct metric *other = &metrics->metrics[i];
        if (strcmp(other->name, metric.name) == 0) {
            RIA_ASSERT(other->kind == metric.kind);
            RIA_ASSERT(strcmp(other->labels, metric.labels) != 0);
            at = i + 1;
        }
    }
    struct metric *place = &metrics->metrics[at];
    memmove(place + 1, place, (metrics->count - at) * sizeof(metric));
    *place = metric;
    metrics->count++;
}

void ria_metrics_add_counter(
    struct ria_metrics *metrics,
    const char *name,
    const char *labels,
    const char *help,
    const struct ria_counter *counter
)
{
    add(metrics, (struct metric){METRIC_COUNTER, name, labels, help, counter});
}

void ria_metrics_add_gauge(
    struct ria_metrics *metrics,
    const char *name,
    const char *labels,
    const char *help,
    const struct ria_gauge *gauge
)
{
    add(metrics, (struct metric){METRIC_GAUGE, name, labels, help, gauge});
}

void ria_metrics_add_histogram(
    struct ria_metrics *metrics,
    const char *name,
    const char *labels,
    const char *help,
    const struct ria_histogram *histogram
)
{
    add(metrics, (struct metric){METRIC_HISTOGRAM, name, labels, help, histogram});
}

void ria_metrics_add_refresh(struct ria_metrics *metrics, ria_metrics_refresh_fn fn, void *arg)
{
    RIA_ASSERT(metrics->refresh_count < METRICS_REFRESH_MAX);
    metrics->refreshes[metrics->refresh_count].fn = fn;
    metrics->refreshes[metrics->refresh_count].arg = arg;
    metrics->refresh_count++;
}

/* --- rendering --------------------------------------------------------------------------------*/

static ria_err
render_head(struct ria_buf *out, const char *name, const char *type, const char *help)
{
    return ria_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* `name{labels} ` or `name `. */
static ria_err render_name(struct ria_buf *out, const char *name, const char *labels)
{
    if (labels[0] == '\0') {
        return ria_buf_printf(out, "%s ", name);
    }
    return ria_buf_printf(out, "%s{%s} ", name, labels);
}

/* Seconds with microseconds, exactly. */
static ria_err render_seconds(struct ria_buf *out, uint64_t us)
{
    return ria_buf_printf(out, "%" PRIu64 ".%06" PRIu64, us / 1000000, us % 1000000);
}

static ria_err
render_bucket(struct ria_buf *out, const struct metric *metric, unsigned shift, uint64_t count)
{
    const char *comma = metric->labels[0] == '\0' ? "" : ",";

    RIA_TRY(ria_buf_printf(out, "%s_bucket{%s%sle=\"", metric->name, metric->labels, comma));
    if (shift > METRICS_LE_SHIFT_MAX) {
        RIA_TRY(ria_buf_append_str(out, "+Inf"));
    } else {
        RIA_TRY(render_seconds(out, UINT64_C(1) << shift));
    }
    return ria_buf_printf(out, "\"} %" PRIu64 "\n", count);
}

static ria_err render_histogram(struct ria_buf *out, const struct metric *metric)
{
    const struct ria_histogram *histogram = metric->value;
    const char *open = metric->labels[0] == '\0' ? "" : "{";
    const char *close = metric->labels[0] == '\0' ? "" : "}";
    uint64_t count = 0;
    size_t bucket = 0;

    for (unsigned shift = METRICS_LE_SHIFT_MIN; shift <= METRICS_LE_SHIFT_MAX; shift++) {
        /* A value of exactly 2^shift is in the next bucket: one microsecond of error. */
        for (; bucket_max(bucket) < INT64_C(1) << shift; bucket++) {
            count += histogram->buckets[bucket];
        }
        RIA_TRY(render_bucket(out, metric, shift, count));
    }
    RIA_TRY(render_bucket(out, metric, METRICS_LE_SHIFT_MAX + 1, histogram->count));
    RIA_TRY(ria_buf_printf(out, "%s_sum%s%s%s ", metric->name, open, metric->labels, close));
    RIA_TRY(render_seconds(out, histogram->sum_us));
    return ria_buf_printf(
        out,
        "\n%s_count%s%s%s %" PRIu64 "\n",
        metric->name,
        open,
        metric->labels,
        close,
        histogram->count
    );
}

static const char *type_name(metric_kind kind)
{
    switch (kind) {
    case METRIC_COUNTER:
        return "counter";
    case METRIC_GAUGE:
        return "gauge";
    case METRIC_HISTOGRAM:
        return "histogram";
    }
    return "untyped";
}

static ria_err render_metric(struct ria_buf *out, const struct metric *metric)
{
    switch (metric->kind) {
    case METRIC_COUNTER:
        RIA_TRY(render_name(out, metric->name, metric->labels));
        return ria_buf_printf(
            out, "%" PRIu64 "\n", ((const struct ria_counter *)metric->value)->value
        );
    case METRIC_GAUGE:
        RIA_TRY(render_name(out, metric->name, metric->labels));
        return ria_buf_printf(
            out, "%" PRId64 "\n", ((const struct ria_gauge *)metric->value)->value
        );
    case METRIC_HISTOGRAM:
        return render_histogram(out, metric);
    }
    return RIA_OK;
}

/* --- the process ------------------------------------------------------------------------------*/

static uint64_t resident_bytes(void)
{
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");

    if (file == NULL) {
        return 0;
    }
    if (fscanf(file, "%*u %llu", &pages) != 1) {
        pages = 0;
    }
    (void)fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t open_fds(void)
{
    uint64_t count = 0;
    DIR *dir = opendir("/proc/self/fd");

    if (dir == NULL) {
        return 0;
    }
    for (const struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        count += entry->d_name[0] != '.';
    }
    (void)closedir(dir);
    return count - 1; /* the directory's own */
}

static ria_err render_process(const struct ria_metrics *metrics, struct ria_buf *out)
{
    struct rusage usage = {0};

    (void)getrusage(RUSAGE_SELF, &usage);
    uint64_t cpu_us = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
                      (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);

    RIA_TRY(render_head(
        out, "process_cpu_seconds_total", "counter", "User and system CPU time, in seconds."
    ));
    RIA_TRY(ria_buf_append_str(out, "process_cpu_seconds_total "));
    RIA_TRY(render_seconds(out, cpu_us));
    RIA_TRY(ria_buf_append_str(out, "\n"));
    RIA_TRY(render_head(out, "process_resident_memory_bytes", "gauge", "Resident memory, in bytes.")
    );
    RIA_TRY(ria_buf_printf(out, "process_resident_memory_bytes %" PRIu64 "\n", resident_bytes()));
    RIA_TRY(render_head(out, "process_open_fds", "gauge", "Open file descriptors."));
    RIA_TRY(ria_buf_printf(out, "process_open_fds %" PRIu64 "\n", open_fds()));
    RIA_TRY(render_head(
        out, "process_start_time_seconds", "gauge", "Start of the process, in seconds since 1970."
    ));
    return ria_buf_printf(out, "process_start_time_seconds %" PRId64 "\n", metrics->start_s);
}

ria_err ria_metrics_render(const struct ria_metrics *metrics, struct ria_buf *out)
{
    const char *name = "";

    for (size_t i = 0; i < metrics->refresh_count; i++) {
        metrics->refreshes[i].fn(metrics->refreshes[i].arg);
    }
    for (size_t i = 0; i < metrics->count; i++) {
        const struct metric *metric = &metrics->metrics[i];
        if (strcmp(name, metric->name) != 0) {
            name = metric->name;
            RIA_TRY(render_head(out, name, type_name(metric->kind), metric->help));
        }
        RIA_TRY(render_metric(out, metric));
    }
    return render_process(metrics, out);
}
