#include "tests/sim/sim_disk.h"

#include <stdlib.h>
#include <string.h>

#include "tests/lib/harness.h"

struct scene {
    struct ria_clock clock;
    struct ria_timers timers;
    struct ria_rand rand;
    struct sim_disk *disk;
    struct ria_fs *fs;
    unsigned crashes;
};

static int64_t no_time(const struct ria_clock *clock)
{
    (void)clock;
    return 1;
}

static void on_crash(void *arg, bool lose_unsynced)
{
    struct scene *s = arg;

    (void)lose_unsynced;
    s->crashes++;
}

static void begin(struct scene *s)
{
    memset(s, 0, sizeof(*s));
    s->clock = (struct ria_clock){.mono_us = no_time, .wall_ms = no_time};
    ria_timers_init(&s->timers, &s->clock);
    ria_rand_init(&s->rand, 3);
    s->disk = sim_disk_new(&s->timers, &s->rand, on_crash, s);
    s->fs = sim_disk_fs(s->disk);
    sim_disk_boot(s->disk);
}

static void end(struct scene *s)
{
    sim_disk_free(s->disk);
    ria_timers_fini(&s->timers);
}

static void write_synced(struct scene *s, const char *path, const char *text)
{
    CU_ASSERT_EQUAL(ria_fs_replace(s->fs, path, text, strlen(text)), RIA_OK);
}

static void expect(struct scene *s, const char *path, const char *text)
{
    uint8_t *data = NULL;
    size_t size = 0;

    CU_ASSERT_EQUAL(ria_fs_read_all(s->fs, path, 100, &data, &size), RIA_OK);
    CU_ASSERT_STRING_EQUAL(data == NULL ? "" : (const char *)data, text);
    free(data);
}

static void a_dead_disk_takes_nothing_and_lets_files_be_closed(void)
{
    struct scene s;
    struct ria_file *file = NULL;
    size_t got = 0;
    char byte = 0;

    begin(&s);
    write_synced(&s, "/a", "old");
    CU_ASSERT_EQUAL_FATAL(ria_fs_open(s.fs, "/a", RIA_FS_WRITE, &file), RIA_OK);
    sim_disk_crash(s.disk, false);
    CU_ASSERT_EQUAL(s.crashes, 0);
    CU_ASSERT_EQUAL(ria_fs_pwrite(file, "new", 3, 0), RIA_ERR_IO);
    CU_ASSERT_EQUAL(ria_fs_pread(file, &byte, 1, 0, &got), RIA_ERR_IO);
    CU_ASSERT_EQUAL(ria_fs_unlink(s.fs, "/a"), RIA_ERR_IO);
    ria_fs_close(file);
    CU_ASSERT_EQUAL(ria_fs_open(s.fs, "/b", RIA_FS_WRITE | RIA_FS_CREATE, &file), RIA_ERR_IO);
    sim_disk_boot(s.disk);
    expect(&s, "/a", "old");
    CU_ASSERT_EQUAL(ria_fs_open(s.fs, "/b", RIA_FS_READ, &file), RIA_ERR_NOT_FOUND);
    end(&s);
}

/* However far it gets, one content or the other is there. */
static void a_crash_in_the_middle_of_a_replace_leaves_old_or_new(void)
{
    unsigned crashes = 0;

    for (uint64_t at = 1; at < 10; at++) {
        struct scene s;
        uint8_t *data = NULL;
        size_t size = 0;

        begin(&s);
        write_synced(&s, "/a", "old");
        sim_disk_crash_at(s.disk, at, true);
        (void)!ria_fs_replace(s.fs, "/a", "new", 3);
        crashes += s.crashes;
        CU_ASSERT_EQUAL(sim_disk_is_dead(s.disk), s.crashes == 1);
        sim_disk_crash_at(s.disk, 0, false);
        sim_disk_boot(s.disk);
        CU_ASSERT_EQUAL(ria_fs_read_all(s.fs, "/a", 100, &data, &size), RIA_OK);
        const char *text = data == NULL ? "" : (const char *)data;
        CU_ASSERT(strcmp(text, "old") == 0 || strcmp(text, "new") == 0);
        free(data);
        end(&s);
    }
    CU_ASSERT(crashes >= 4); /* write, sync, rename, sync of the folder */
}

static const struct harness_test tests[] = {
    HARNESS_TEST(a_dead_disk_takes_nothing_and_lets_files_be_closed),
    HARNESS_TEST(a_crash_in_the_middle_of_a_replace_leaves_old_or_new),
};
HARNESS_MAIN(tests);
