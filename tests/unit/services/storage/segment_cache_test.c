#include "services/storage/segment_cache.h"

#include "common/assert.h"
#include "common/fs_sim.h"

#include "tests/lib/harness.h"

enum { FILES = 6 };

static int64_t zero(const struct ria_clock *clock)
{
    (void)clock;
    return 0;
}

static struct ria_clock still = {.mono_us = zero, .wall_ms = zero};
static struct ria_timers timers;
static struct ria_rand rand_;
static struct ria_fs *fs;
static struct segment_cache *cache;
static struct segment_file files[FILES];
static int evicted;

static void on_evict(struct segment_file *file)
{
    (void)file;
    evicted++;
}

static void begin(uint32_t files_max)
{
    ria_timers_init(&timers, &still);
    ria_rand_init(&rand_, 1);
    RIA_ASSERT(ria_fs_sim_new(&timers, &rand_, &fs) == RIA_OK);
    RIA_ASSERT(ria_fs_mkdir(fs, "d") == RIA_OK);
    RIA_ASSERT(segment_cache_new(fs, files_max, &cache) == RIA_OK);
    evicted = 0;
    for (int i = 0; i < FILES; i++) {
        segment_file_init(&files[i], cache, "d", i);
        files[i].on_evict = on_evict;
    }
}

static void end(void)
{
    for (int i = 0; i < FILES; i++) {
        segment_file_close(&files[i]);
    }
    CU_ASSERT_EQUAL(segment_cache_open_count(cache), 0);
    segment_cache_free(cache);
    CU_ASSERT_EQUAL(ria_fs_sim_open_count(fs), 0);
    ria_fs_sim_free(fs);
    ria_timers_fini(&timers);
}

static void use(int i)
{
    struct ria_file *file = NULL;

    CU_ASSERT_EQUAL(segment_file_get(&files[i], true, &file), RIA_OK);
    CU_ASSERT_PTR_NOT_NULL(file);
}

static void the_one_used_longest_ago_is_closed(void)
{
    begin(3);
    use(0);
    use(1);
    use(2);
    use(0);
    use(3);
    CU_ASSERT_PTR_NULL(files[1].file);
    CU_ASSERT_PTR_NOT_NULL(files[0].file);
    CU_ASSERT_EQUAL(evicted, 1);
    CU_ASSERT_EQUAL(segment_cache_open_count(cache), 3);
    CU_ASSERT_EQUAL(ria_fs_sim_open_count(fs), 3);
    end();
}

static void clean_files_go_before_dirty_ones(void)
{
    begin(3);
    use(0);
    segment_file_set_dirty(&files[0], true);
    use(1);
    use(2);
    use(3);
    use(4);
    CU_ASSERT_PTR_NOT_NULL(files[0].file);
    segment_file_set_dirty(&files[3], true);
    segment_file_set_dirty(&files[4], true);
    use(5); /* all are dirty: the oldest goes all the same */
    CU_ASSERT_PTR_NULL(files[0].file);
    CU_ASSERT_EQUAL(segment_cache_open_count(cache), 3);
    end();
}

static void pinned_files_stay_and_may_pass_the_bound(void)
{
    begin(2);
    for (int i = 0; i < 4; i++) {
        use(i);
        segment_file_pin(&files[i]);
    }
    CU_ASSERT_EQUAL(segment_cache_open_count(cache), 4);
    for (int i = 0; i < 4; i++) {
        segment_file_unpin(&files[i]);
    }
    use(5);
    CU_ASSERT_EQUAL(segment_cache_open_count(cache), 2);
    CU_ASSERT_PTR_NOT_NULL(files[3].file);
    CU_ASSERT_PTR_NOT_NULL(files[5].file);
    end();
}

/* After a failover thousands of logs sync at once; nothing was opened afterwards, so all of their
 * files stayed open. */
static void pinned_files_beyond_the_bound_are_closed_when_they_are_synced(void)
{
    begin(2);
    for (int i = 0; i < FILES; i++) {
        use(i);
        segment_file_set_dirty(&files[i], true);
        segment_file_pin(&files[i]);
    }
    CU_ASSERT_EQUAL(segment_cache_open_count(cache), FILES);
    segment_file_unpin(&files[0]); /* written to meanwhile: it stays for another sync */
    CU_ASSERT_EQUAL(segment_cache_open_count(cache), FILES);
    for (int i = 1; i < FILES; i++) {
        segment_file_unpin(&files[i]);
        segment_file_set_dirty(&files[i], false);
    }
    CU_ASSERT_EQUAL(segment_cache_open_count(cache), 2);
    CU_ASSERT_EQUAL(ria_fs_sim_open_count(fs), 2);
    CU_ASSERT_EQUAL(evicted, FILES - 2);
    CU_ASSERT_PTR_NOT_NULL(files[0].file);
    CU_ASSERT_PTR_NOT_NULL(files[FILES - 1].file);
    end();
}

static void a_missing_file_is_no_surprise(void)
{
    struct ria_file *file = NULL;

    begin(2);
    CU_ASSERT_EQUAL(segment_file_get(&files[0], false, &file), RIA_ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(segment_cache_open_count(cache), 0);
    segment_file_close(&files[0]);
    end();
}

static void scratch_grows_and_is_given_back(void)
{
    begin(2);
    uint8_t *small = segment_cache_scratch(cache, 100);
    CU_ASSERT_PTR_NOT_NULL(small);
    CU_ASSERT_PTR_EQUAL(segment_cache_scratch(cache, 50), small);
    uint8_t *large = segment_cache_scratch(cache, 4 * 1024 * 1024);
    CU_ASSERT_PTR_NOT_NULL(large);
    large[4 * 1024 * 1024 - 1] = 1;
    segment_cache_trim(cache);
    CU_ASSERT_PTR_NOT_NULL(segment_cache_scratch(cache, 100));
    end();
}

static const struct harness_test tests[] = {
    HARNESS_TEST(the_one_used_longest_ago_is_closed),
    HARNESS_TEST(clean_files_go_before_dirty_ones),
    HARNESS_TEST(pinned_files_stay_and_may_pass_the_bound),
    HARNESS_TEST(pinned_files_beyond_the_bound_are_closed_when_they_are_synced),
    HARNESS_TEST(a_missing_file_is_no_surprise),
    HARNESS_TEST(scratch_grows_and_is_given_back),
};
HARNESS_MAIN(tests);
