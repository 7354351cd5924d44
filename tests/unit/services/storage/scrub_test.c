/* One node reads everything it has, slowly. */
#include "services/storage/scrub.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/metrics.h"

#include "tests/lib/harness.h"
#include "tests/unit/services/storage/storage_fixture.h"

enum { VALUE_SIZE = 100 * 1000, RECORDS = 40 };

#define DIR_PATH "data/aa000000-0000-0000-0000-000000000001-0/"

static struct storage_fixture *f;

/* The node leads one partition with 4 MB in it; the scrub reads 1 MB a second, once in a minute. */
static void begin(const char *setting)
{
    f = calloc(1, sizeof(*f));
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    fixture_init(f);
    f->scrub_period_ms = 60 * 1000;
    f->scrub_rate = 1000 * 1000;
    fixture_lead(f, "1", setting);
    for (int i = 0; i < RECORDS; i++) {
        (void
        )fixture_produce(f, (struct produce_args){.leader_epoch = 5, .value_size = VALUE_SIZE});
        fixture_run_ms(f, 5);
    }
}

static void end(void)
{
    fixture_fini(f);
    free(f);
}

/* A counter as a scrape would see it. */
static int64_t counter(const char *name)
{
    struct ria_metrics *metrics = NULL;
    struct ria_buf text;

    RIA_ASSERT(ria_metrics_new(&metrics) == RIA_OK);
    storage_register_metrics(f->storage, metrics);
    ria_buf_init(&text, 1 << 20);
    RIA_ASSERT(ria_metrics_render(metrics, &text) == RIA_OK);
    RIA_ASSERT(ria_buf_append(&text, "", 1) == RIA_OK);
    char line[128];
    (void)snprintf(line, sizeof(line), "\n%s ", name);
    const char *at = strstr((const char *)text.data, line);
    int64_t value = at == NULL ? -1 : strtoll(at + strlen(line), NULL, 10);
    ria_buf_fini(&text);
    ria_metrics_free(metrics);
    return value;
}

static int64_t bytes(void)
{
    return counter("riacho_storage_scrub_bytes_total");
}

static int64_t passes(void)
{
    return counter("riacho_storage_scrub_passes_total");
}

static void run_until_pass(int64_t number)
{
    for (int i = 0; i < 200 && passes() < number; i++) {
        fixture_run_ms(f, 1000);
    }
    CU_ASSERT_EQUAL(passes(), number);
}

static void it_reads_everything_at_its_rate_and_then_rests(void)
{
    begin(NULL);
    run_until_pass(1); /* over what was there by then */
    int64_t before = bytes();
    int64_t start_us = f->now_us;
    while (bytes() == before && f->now_us - start_us < 100000000) {
        fixture_run_ms(f, 100);
    }
    int64_t first = bytes();
    fixture_run_ms(f, 2000);
    CU_ASSERT(bytes() - first >= 1000000);
    CU_ASSERT(bytes() - first <= 3200000);
    run_until_pass(2);
    CU_ASSERT(bytes() - before >= RECORDS * VALUE_SIZE);
    CU_ASSERT(bytes() - before <= RECORDS * VALUE_SIZE * 2);
    int64_t done = bytes();
    fixture_run_ms(f, 30000);
    CU_ASSERT_EQUAL(bytes(), done);
    end();
}

static void it_goes_on_where_it_was_after_a_restart(void)
{
    begin(NULL);
    run_until_pass(1);
    while (counter("riacho_storage_scrub_passes_total") == 1 && bytes() < 12000000) {
        int64_t before = bytes();
        fixture_run_ms(f, 1000);
        if (bytes() > before && bytes() % 7 != 0 && before > 4000000) {
            break; /* in the middle of the second pass */
        }
    }
    fixture_stop(f);
    CU_ASSERT_TRUE(fixture_start(f));
    fixture_run_ms(f, 10);
    int64_t start_us = f->now_us;
    run_until_pass(1);
    CU_ASSERT(bytes() < RECORDS * VALUE_SIZE); /* not all of it again */
    CU_ASSERT(f->now_us - start_us < 50000000);
    end();
}

static void a_place_that_is_garbage_costs_a_pass_and_no_more(void)
{
    struct ria_file *file = NULL;

    begin(NULL);
    fixture_stop(f);
    CU_ASSERT_EQUAL_FATAL(
        ria_fs_open(f->fs, "data/scrub", RIA_FS_WRITE | RIA_FS_CREATE, &file), RIA_OK
    );
    CU_ASSERT_EQUAL(ria_fs_pwrite(file, "garbage", 7, 3), RIA_OK);
    ria_fs_close(file);
    CU_ASSERT_TRUE(fixture_start(f));
    run_until_pass(1);
    CU_ASSERT(bytes() >= RECORDS * VALUE_SIZE);
    end();
}

/* Three segments: the index files of the first two are on disk. */
static void a_rotten_index_is_written_anew(void)
{
    static const char *const NAMES[] = {
        DIR_PATH "00000000000000000000.index",
        DIR_PATH "00000000000000000000.timeindex",
    };

    begin("segment.bytes=1048576");
    for (size_t i = 0; i < RIA_COUNT(NAMES); i++) {
        CU_ASSERT_EQUAL(ria_fs_sim_flip_bit(f->fs, NAMES[i], 20, 2), RIA_OK);
        unsigned logged = fixture_logged(f, "storage.index_repaired");
        run_until_pass(passes() + 1);
        run_until_pass(passes() + 1);
        CU_ASSERT_EQUAL(fixture_logged(f, "storage.index_repaired"), logged + 1);
    }
    CU_ASSERT_FALSE(fixture_info(f).damaged);
    fixture_stop(f);
    CU_ASSERT_TRUE(fixture_start(f)); /* they are good: nothing is read to open it */
    fixture_run_ms(f, 100);
    CU_ASSERT_EQUAL(fixture_logged(f, "storage.index_rebuilt"), 0);
    end();
}

static void batches_larger_than_a_read_are_checked(void)
{
    begin("max.message.bytes=8388608");
    (void)fixture_produce(f, (struct produce_args){.leader_epoch = 5, .value_size = 3000000});
    fixture_run_ms(f, 50);
    CU_ASSERT_EQUAL(fixture_info(f).end_offset, RECORDS + 1);
    run_until_pass(1);
    run_until_pass(2);
    CU_ASSERT_FALSE(fixture_info(f).damaged);
    CU_ASSERT_EQUAL(
        ria_fs_sim_flip_bit(
            f->fs, DIR_PATH "00000000000000000000.log", RECORDS * VALUE_SIZE + 2000000, 2
        ),
        RIA_OK
    );
    run_until_pass(3);
    CU_ASSERT_TRUE(fixture_info(f).damaged);
    CU_ASSERT(fixture_logged(f, "from=40 to=41 remembered=yes") == 1);
    run_until_pass(4); /* it goes round what is known */
    CU_ASSERT_EQUAL(fixture_logged(f, "storage.log_damaged"), 1);
    end();
}

static void a_file_that_was_cut_short_is_found(void)
{
    struct ria_file *file = NULL;

    begin("segment.bytes=1048576");
    run_until_pass(1);
    CU_ASSERT_EQUAL_FATAL(
        ria_fs_open(f->fs, DIR_PATH "00000000000000000000.log", RIA_FS_WRITE, &file), RIA_OK
    );
    CU_ASSERT_EQUAL(ria_fs_truncate(file, 500000), RIA_OK);
    ria_fs_close(file);
    run_until_pass(2);
    CU_ASSERT_TRUE(fixture_info(f).damaged);
    end();
}

static void a_stop_in_the_middle_of_a_read_waits_for_it(void)
{
    struct ria_fs_sim_faults slow = {.sync_delay_us_min = 300000, .sync_delay_us_max = 300000};

    begin(NULL);
    ria_fs_sim_set_faults(f->fs, &slow);
    fixture_run_ms(f, 1500);
    fixture_stop(f); /* asserts that no file stays open */
    CU_ASSERT_EQUAL(ria_fs_sim_open_count(f->fs), 0);
    CU_ASSERT_TRUE(fixture_start(f));
    fixture_run_ms(f, 1500);
    fixture_kill(f);
    CU_ASSERT_TRUE(fixture_start(f));
    end();
}

static const struct harness_test tests[] = {
    HARNESS_TEST(it_reads_everything_at_its_rate_and_then_rests),
    HARNESS_TEST(it_goes_on_where_it_was_after_a_restart),
    HARNESS_TEST(a_place_that_is_garbage_costs_a_pass_and_no_more),
    HARNESS_TEST(a_rotten_index_is_written_anew),
    HARNESS_TEST(batches_larger_than_a_read_are_checked),
    HARNESS_TEST(a_file_that_was_cut_short_is_found),
    HARNESS_TEST(a_stop_in_the_middle_of_a_read_waits_for_it),
};
HARNESS_MAIN(tests);
