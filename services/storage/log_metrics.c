#include "services/storage/log_metrics.h"

void log_metrics_register(const struct log_metrics *counters, struct ria_metrics *metrics)
{
#define LOG_METRICS_ADD_(counter, name, help) \
    ria_metrics_add_counter(metrics, name, "", help, &counters->counter);
    LOG_METRICS_TABLE(LOG_METRICS_ADD_)
#undef LOG_METRICS_ADD_
}
