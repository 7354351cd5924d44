#include "common/metrics.h"

#include <string.h>

#include "tests/lib/harness.h"

static char rendered[64 * 1024];

static void render(const struct ria_metrics *metrics)
{
    struct ria_buf buf;

    ria_buf_init(&buf, sizeof(rendered) - 1);
    CU_ASSERT_EQUAL(ria_metrics_render(metrics, &buf), RIA_OK);
    if (buf.size > 0) {
        memcpy(rendered, buf.data, buf.size);
    }
    rendered[buf.size] = '\0';
    ria_buf_fini(&buf);
}

static int occurrences(const char *text)
{
    int count = 0;

    for (const char *at = strstr(rendered, text); at != NULL; at = strstr(at + 1, text)) {
        count++;
    }
    return count;
}

static void counters_and_gauges_render(void)
{
    struct ria_metrics *metrics;
    struct ria_counter counter = {.value = 7};
    struct ria_gauge gauge = {.value = -3};

    CU_ASSERT_EQUAL_FATAL(ria_metrics_new(&metrics), RIA_OK);
    ria_metrics_add_counter(metrics, "riacho_test_reads_total", "", "Reads.", &counter);
    ria_metrics_add_gauge(metrics, "riacho_test_depth", "queue=\"a\"", "Depth.", &gauge);
    render(metrics);
    CU_ASSERT_PTR_NOT_NULL(strstr(
        rendered,
        "# HELP riacho_test_reads_total Reads.\n# TYPE riacho_test_reads_total counter\n"
        "riacho_test_reads_total 7\n"
    ));
    CU_ASSERT_PTR_NOT_NULL(
        strstr(rendered, "# TYPE riacho_test_depth gauge\nriacho_test_depth{queue=\"a\"} -3\n")
    );
    counter.value++;
    render(metrics);
    CU_ASSERT_PTR_NOT_NULL(strstr(rendered, "\nriacho_test_reads_total 8\n"));
    ria_metrics_free(metrics);
}

static void one_name_has_one_help_and_stays_together(void)
{
    struct ria_metrics *metrics;
    struct ria_counter counter = {.value = 1};

    CU_ASSERT_EQUAL_FATAL(ria_metrics_new(&metrics), RIA_OK);
    ria_metrics_add_counter(metrics, "riacho_a_total", "k=\"1\"", "A.", &counter);
    ria_metrics_add_counter(metrics, "riacho_b_total", "", "B.", &counter);
    ria_metrics_add_counter(metrics, "riacho_a_total", "k=\"2\"", "A.", &counter);
    render(metrics);
    CU_ASSERT_EQUAL(occurrences("# HELP riacho_a_total"), 1);
    CU_ASSERT_EQUAL(occurrences("# TYPE riacho_a_total"), 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(
        rendered, "riacho_a_total{k=\"1\"} 1\nriacho_a_total{k=\"2\"} 1\n# HELP riacho_b_total"
    ));
    ria_metrics_free(metrics);
}

static void histogram_renders_cumulative_seconds(void)
{
    struct ria_metrics *metrics;
    struct ria_histogram histogram = {.count = 0};

    CU_ASSERT_EQUAL_FATAL(ria_metrics_new(&metrics), RIA_OK);
    ria_metrics_add_histogram(metrics, "riacho_t_seconds", "op=\"x\"", "T.", &histogram);
    ria_histogram_record(&histogram, 10);
    ria_histogram_record(&histogram, 100);
    ria_histogram_record(&histogram, 1500000);
    ria_histogram_record(&histogram, INT64_C(1) << 40);
    render(metrics);
    CU_ASSERT_PTR_NOT_NULL(strstr(rendered, "# TYPE riacho_t_seconds histogram\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(rendered, "riacho_t_seconds_bucket{op=\"x\",le=\"0.000064\"} 1\n")
    );
    CU_ASSERT_PTR_NOT_NULL(strstr(rendered, "riacho_t_seconds_bucket{op=\"x\",le=\"0.000128\"} 2\n")
    );
    CU_ASSERT_PTR_NOT_NULL(strstr(rendered, "riacho_t_seconds_bucket{op=\"x\",le=\"1.048576\"} 2\n")
    );
    CU_ASSERT_PTR_NOT_NULL(strstr(rendered, "riacho_t_seconds_bucket{op=\"x\",le=\"2.097152\"} 3\n")
    );
    CU_ASSERT_PTR_NOT_NULL(strstr(rendered, "riacho_t_seconds_bucket{op=\"x\",le=\"+Inf\"} 4\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(rendered, "riacho_t_seconds_count{op=\"x\"} 4\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(rendered, "riacho_t_seconds_sum{op=\"x\"} 1099513.127886\n"));
    CU_ASSERT_EQUAL(occurrences("riacho_t_seconds_bucket"), 21);
    ria_metrics_free(metrics);
}

static void quantile_is_within_a_quarter(void)
{
    struct ria_histogram histogram = {.count = 0};

    CU_ASSERT_EQUAL(ria_histogram_quantile(&histogram, 0.5), 0);
    for (int64_t us = 1; us <= 100000; us++) {
        ria_histogram_record(&histogram, us);
    }
    CU_ASSERT_EQUAL(ria_histogram_quantile(&histogram, 0), 1);
    int64_t median = ria_histogram_quantile(&histogram, 0.5);
    CU_ASSERT_TRUE(median >= 50000 && median <= 50000 * 5 / 4);
    int64_t p99 = ria_histogram_quantile(&histogram, 0.99);
    CU_ASSERT_TRUE(p99 >= 99000 && p99 <= 99000 * 5 / 4);
    CU_ASSERT_TRUE(ria_histogram_quantile(&histogram, 1) >= 100000);
}

static void small_and_strange_values_have_a_bucket(void)
{
    static const int64_t values[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 1000};

    for (size_t i = 0; i < RIA_COUNT(values); i++) {
        struct ria_histogram histogram = {.count = 0};
        ria_histogram_record(&histogram, values[i]);
        int64_t got = ria_histogram_quantile(&histogram, 0.5);
        CU_ASSERT_TRUE(got >= values[i] && got <= values[i] * 5 / 4);
    }
    struct ria_histogram histogram = {.count = 0};
    ria_histogram_record(&histogram, -5);
    CU_ASSERT_EQUAL(ria_histogram_quantile(&histogram, 1), 0);
    CU_ASSERT_EQUAL(histogram.sum_us, 0);
    ria_histogram_record(&histogram, INT64_C(1) << 50);
    CU_ASSERT_EQUAL(ria_histogram_quantile(&histogram, 1), (INT64_C(1) << 32) - 1);
}

static void refresh_deepens(void *arg)
{
    ((struct ria_gauge *)arg)->value++;
}

static void refresh_runs_before_rendering(void)
{
    struct ria_metrics *metrics;
    struct ria_gauge gauge = {.value = 0};

    CU_ASSERT_EQUAL_FATAL(ria_metrics_new(&metrics), RIA_OK);
    ria_metrics_add_gauge(metrics, "riacho_depth", "", "D.", &gauge);
    ria_metrics_add_refresh(metrics, refresh_deepens, &gauge);
    render(metrics);
    CU_ASSERT_PTR_NOT_NULL(strstr(rendered, "\nriacho_depth 1\n"));
    ria_metrics_free(metrics);
}

static void process_metrics_are_there(void)
{
    struct ria_metrics *metrics;
    struct ria_buf tiny;

    CU_ASSERT_EQUAL_FATAL(ria_metrics_new(&metrics), RIA_OK);
    render(metrics);
    CU_ASSERT_PTR_NOT_NULL(strstr(rendered, "\nprocess_cpu_seconds_total 0."));
    CU_ASSERT_PTR_NOT_NULL(strstr(rendered, "\nprocess_open_fds "));
    CU_ASSERT_PTR_NOT_NULL(strstr(rendered, "\nprocess_start_time_seconds 1"));
    CU_ASSERT_PTR_NOT_NULL(strstr(rendered, "\nprocess_resident_memory_bytes "));
    CU_ASSERT_PTR_NULL(strstr(rendered, "process_resident_memory_bytes 0\n"));
    ria_buf_init(&tiny, 10);
    CU_ASSERT_EQUAL(ria_metrics_render(metrics, &tiny), RIA_ERR_LIMIT);
    ria_buf_fini(&tiny);
    ria_metrics_free(metrics);
}

static const struct harness_test tests[] = {
    HARNESS_TEST(counters_and_gauges_render),
    HARNESS_TEST(one_name_has_one_help_and_stays_together),
    HARNESS_TEST(histogram_renders_cumulative_seconds),
    HARNESS_TEST(quantile_is_within_a_quarter),
    HARNESS_TEST(small_and_strange_values_have_a_bucket),
    HARNESS_TEST(refresh_runs_before_rendering),
    HARNESS_TEST(process_metrics_are_there),
};
HARNESS_MAIN(tests);
