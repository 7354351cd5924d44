#include "services/storage/metrics.h"

void storage_metrics_register(const struct storage_metrics *m, struct ria_metrics *metrics)
{
#define COUNTER(field, name, help) ria_metrics_add_counter(metrics, name, "", help, &m->field);
#define GAUGE(field, name, help)   ria_metrics_add_gauge(metrics, name, "", help, &m->field);
    STORAGE_COUNTERS(COUNTER)
    STORAGE_GAUGES(GAUGE)
#undef COUNTER
#undef GAUGE
    ria_metrics_add_histogram(
        metrics,
        "riacho_storage_produce_latency_seconds",
        "",
        "from a produce request to its acknowledgement",
        &m->produce_latency
    );
}
